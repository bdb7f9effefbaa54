package pipeline

import (
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/verify/evidence"
)

// Prometheus writes the numbers for node_exporter's textfile collector, which takes no timestamps and no series twice.
func Prometheus(w io.Writer, d *evidence.Document) error {
	s := d.Scan
	claims := gauge("svmctl_claim_result", "Result of each claim about encryption at rest: 1 pass, 0 fail, -1 inconclusive.")
	for _, claim := range s.Claims {
		claims.Metric = append(claims.Metric, sample(result(claim.Result), "claim", clean(claim.ID)))
	}
	for _, family := range []*dto.MetricFamily{
		gauge("svmctl_scan_timestamp_seconds", "When the scan was finished, in seconds since 1970.", sample(seconds(s.Time.FinishedAt))),
		gauge("svmctl_scan_revision", "Revision of etcd that the scan read.", sample(float64(s.AsOf.Revision))),
		gauge("svmctl_scan_complete", "1 if every key that etcd counts was read, else 0.", sample(truth(s.Completeness.Whole))),
		objects(s.Population),
		claims,
		gauge("svmctl_apiserver_config_match", "Whether every apiserver has loaded the same encryption configuration: 1 yes, 0 no, -1 not known.", sample(match(d.APIServers))),
	} {
		if len(family.Metric) == 0 {
			continue
		}
		if _, err := expfmt.MetricFamilyToText(w, family); err != nil {
			return err
		}
	}
	return nil
}

// series are the labels of svmctl_objects.
type series struct{ group, resource, provider, key, state string }

func (s series) compare(other series) int {
	return slices.Compare([]string{s.group, s.resource, s.provider, s.key, s.state}, []string{other.group, other.resource, other.provider, other.key, other.state})
}

// objects adds up what the labels do not tell apart.
func objects(population []evidence.Population) *dto.MetricFamily {
	counts := make(map[series]int64)
	for _, p := range population {
		resource, group, _ := strings.Cut(p.Resource, ".")
		provider := p.Provider
		if provider == string(atrest.KMS) {
			provider += p.Version
		}
		counts[series{clean(group), clean(resource), clean(provider), clean(keyLabel(p)), clean(string(p.State))}] += p.Objects
	}
	family := gauge("svmctl_objects", "Objects in etcd by how they are encrypted; key is the key's name, the provider's for KMS v1, or 12 hex digits of the key ID's hash for KMS v2.")
	for _, s := range slices.SortedFunc(maps.Keys(counts), series.compare) {
		family.Metric = append(family.Metric, sample(float64(counts[s]), "group", s.group, "resource", s.resource, "provider", s.provider, "key", s.key, "state", s.state))
	}
	return family
}

func keyLabel(p evidence.Population) string {
	const digits = 12
	if hash := strings.TrimPrefix(p.KeyIDHash, "sha256:"); len(hash) >= digits {
		return hash[:digits]
	}
	return p.Key
}

func result(r evidence.Result) float64 {
	switch r {
	case evidence.Pass:
		return 1
	case evidence.Fail:
		return 0
	}
	return -1
}

func match(servers *evidence.APIServers) float64 {
	if servers == nil || servers.Agree == nil {
		return -1
	}
	return truth(*servers.Agree)
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// clean makes a label's value text: Prometheus refuses the whole file for one byte that is none.
func clean(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func gauge(name, help string, samples ...*dto.Metric) *dto.MetricFamily {
	return &dto.MetricFamily{Name: new(name), Help: new(help), Type: dto.MetricType_GAUGE.Enum(), Metric: samples}
}

// sample has labels by name and value.
func sample(value float64, labels ...string) *dto.Metric {
	m := &dto.Metric{Gauge: &dto.Gauge{Value: new(value)}}
	for pair := range slices.Chunk(labels, 2) {
		m.Label = append(m.Label, &dto.LabelPair{Name: new(pair[0]), Value: new(pair[1])})
	}
	return m
}
