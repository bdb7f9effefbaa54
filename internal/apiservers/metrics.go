package apiservers

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/util/version"
)

// The metrics as of Kubernetes 1.37. The first is set from the start and whether or not the file is reloaded (k8s.io/apiserver
// pkg/server/options/etcd.go), in 1.34 and later; without an EncryptionConfiguration it is not there. The third is set at
// each health check of a KMS v2 plugin, once a minute, and stays when a provider is removed; the fourth at each value that is
// encrypted or decrypted (pkg/storage/value/encrypt/envelope/metrics).
const (
	configInfo   = "apiserver_encryption_config_controller_last_config_info"
	configReload = "apiserver_encryption_config_controller_automatic_reload_last_timestamp_seconds"
	kmsStatus    = "apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds"
	kmsUse       = "apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds"
	buildInfo    = "kubernetes_build_info"
	processStart = "process_start_time_seconds"
	idLabel      = "apiserver_id_hash"
)

const (
	accept      = "text/plain;version=0.0.4"
	maxLine     = 1 << 20
	maxKept     = 1 << 20
	kmsSilence  = 5 * time.Minute // several health checks
	kmsLeftover = time.Minute     // how long the plugin of a replaced configuration may still be asked
)

var hashText = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// tellsConfig tells whether a release has configInfo.
func tellsConfig(release string) bool {
	v, err := version.ParseGeneric(release)
	return err == nil && v.AtLeast(version.MustParseGeneric("1.34"))
}

func (s *Server) readMetrics(ctx context.Context, c *client) {
	var kept []byte
	at, p := c.get(ctx, "/metrics", "", accept, maxMetrics, func(r io.Reader) (err error) {
		kept, s.Transformations, err = keepAndCount(r)
		return err
	})
	if p != nil {
		s.MetricsProblem, s.Transformations = p.text, nil
		return
	}
	if at.IsZero() {
		at = time.Now()
	}
	s.toldAt = at
	if s.MetricsProblem = s.judgeMetrics(kept, at); s.MetricsProblem == "" {
		s.MetricsRead = true
	} else {
		s.Transformations = nil
	}
	if len(s.KMSKeyIDs) > 0 {
		s.readReadiness(ctx, c)
	}
}

// keep drops the lines that nobody asks for, as there may be hundreds of thousands, and hands on those that are counted.
func keep(r io.Reader, count func(line []byte) error) ([]byte, error) {
	var kept []byte
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for lines.Scan() {
		line := lines.Bytes()
		if bytes.HasPrefix(line, []byte(storageOps+"{")) {
			if err := count(line); err != nil {
				return nil, err
			}
			continue
		}
		if !wanted(line) {
			continue
		}
		if len(kept)+len(line) > maxKept {
			return nil, errTooLong
		}
		kept = append(append(kept, line...), '\n')
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return nil, errStrange
	}
	return kept, lines.Err()
}

func wanted(line []byte) bool {
	if bytes.HasPrefix(line, []byte("#")) {
		return false
	}
	name := line
	if i := bytes.IndexAny(line, "{ "); i >= 0 {
		name = line[:i]
	}
	switch string(name) {
	case configInfo, configReload, kmsStatus, kmsUse, buildInfo, processStart:
		return true
	}
	return bytes.Contains(line, []byte(idLabel+`="`)) && len(line) < 4<<10
}

// judgeMetrics takes from the metrics what they tell at a time by the server's clock. A text, in fixed words, says why they tell nothing.
func (s *Server) judgeMetrics(kept []byte, at time.Time) string {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(kept))
	if err != nil || len(families[buildInfo].GetMetric()) != 1 {
		return errStrange.Error()
	}
	var ids, configs []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if id := label(m, idLabel); id != "" {
				ids = append(ids, id)
			}
		}
	}
	for _, m := range families[configInfo].GetMetric() {
		configs = append(configs, label(m, "hash"))
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) > 1 || len(configs) > 1 || len(ids) == 1 && !hashText.MatchString(ids[0]) || len(configs) == 1 && !hashText.MatchString(configs[0]) {
		return "they do not tell of one apiserver"
	}
	if len(ids) == 1 {
		s.ID = ids[0]
	}
	if len(configs) == 1 {
		s.EncryptionConfig = configs[0]
	}
	s.Version = label(families[buildInfo].GetMetric()[0], "git_version")
	for _, m := range families[processStart].GetMetric() {
		s.startTime = strconv.FormatFloat(value(m), 'f', 2, 64)
	}
	for _, m := range families[configReload].GetMetric() {
		if label(m, "status") == "success" {
			s.ReloadedAt = seconds(value(m))
		}
	}
	s.judgeKMS(families[kmsStatus], at)
	s.judgeKMSUse(families[kmsUse])
	return ""
}

// judgeKMSUse takes when a value was last encrypted with another key than the plugin offers now.
func (s *Server) judgeKMSUse(family *dto.MetricFamily) {
	for _, m := range family.GetMetric() {
		provider, key := label(m, "provider_name"), label(m, "key_id_hash")
		s.met(provider, key)
		if at := seconds(value(m)); label(m, "transformation_type") == "to_storage" && key != s.KMSKeyIDs[provider] && at.After(s.otherKeyAt) {
			s.otherKeyAt = at
		}
	}
}

// met keeps that a key ID is known.
func (s *Server) met(provider, hash string) {
	if s.KMSMet == nil {
		s.KMSMet = make(map[string][]string)
	}
	if !slices.Contains(s.KMSMet[provider], hash) {
		s.KMSMet[provider] = append(s.KMSMet[provider], hash)
	}
}

// judgeKMS takes the newest keyID of each provider. A provider that has long been silent is no longer in the configuration if
// another one was loaded since; else its plugin fails, and what it would give is not known.
func (s *Server) judgeKMS(family *dto.MetricFamily, at time.Time) {
	newest := map[string]time.Time{}
	key := map[string]string{}
	for _, m := range family.GetMetric() {
		provider, t := label(m, "provider_name"), seconds(value(m))
		s.met(provider, label(m, "key_id_hash"))
		if old, known := newest[provider]; !known || t.After(old) {
			newest[provider], key[provider] = t, label(m, "key_id_hash")
		}
	}
	for provider, t := range newest {
		switch {
		case at.Sub(t) <= kmsSilence && hashText.MatchString(key[provider]):
			if s.KMSKeyIDs == nil {
				s.KMSKeyIDs = map[string]string{}
			}
			s.KMSKeyIDs[provider] = key[provider]
		case at.Sub(t) > kmsSilence && t.Before(s.ReloadedAt.Add(kmsLeftover)):
		default:
			s.KMSSilent = append(s.KMSSilent, provider)
		}
	}
	slices.Sort(s.KMSSilent)
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

func value(m *dto.Metric) float64 {
	if g := m.GetGauge(); g != nil {
		return g.GetValue()
	}
	return m.GetUntyped().GetValue()
}

// seconds is a time as Prometheus has it. What is no time is the zero time.
func seconds(f float64) time.Time {
	if math.IsNaN(f) || f <= 0 || f > 1e11 {
		return time.Time{}
	}
	return time.UnixMilli(int64(f * 1000))
}
