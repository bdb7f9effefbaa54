package pipeline_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/svmctl/svmctl/internal/verify/evidence"
	"github.com/svmctl/svmctl/internal/verify/evidence/pipeline"
)

var update = flag.Bool("update", false, "write the files that tests compare with")

// Both are renderings.
var renderings = []evidence.Rendering{{Name: evidence.JUnitFile, Write: pipeline.JUnit}, {Name: evidence.PrometheusFile, Write: pipeline.Prometheus}}

func document() *evidence.Document {
	started := time.Date(2026, 11, 22, 13, 20, 0, 0, time.FixedZone("", 2*60*60))
	hash := "sha256:" + strings.Repeat("f4baa80c", 8)
	return &evidence.Document{
		Scan: &evidence.Scan{
			ID: "5d4a0a7e-4a3c-5f0e-9d52-0c3f1a6b7c8d", Tool: evidence.Tool{Name: "svmctl", Version: "v1.2.3"},
			Time:    evidence.Time{StartedAt: started, FinishedAt: started.Add(1500 * time.Millisecond)},
			Cluster: evidence.Cluster{Label: "prod-eu-1", KubeSystemNamespaceUID: "0b7a4a3e-3c21-4f7e-8f0e-0a1b2c3d4e5f", EtcdClusterID: "c8730d66636ff140"},
			Claims: []evidence.Claim{
				{
					ID: "SVM-E1", Statement: "Every object that is expected to be encrypted is.", Result: evidence.Fail, Why: []string{"1 object of secrets is in plaintext", "2 are under key1"},
					Basis: []string{"population", "etcd's count"}, Limitations: []string{"L1"}, Exceptions: []string{"EX-7"}, Controls: []string{"NIST-800-53r5:SC-28(1)"},
				},
				{ID: "SVM-E4", Statement: "Every apiserver has loaded the same configuration.", Result: evidence.Inconclusive, Why: []string{"1 of 3 was not asked"}},
				{ID: "SVM-E8", Statement: "Nothing is left outside of the API.", Result: evidence.Pass},
			},
			AsOf: evidence.AsOf{Revision: 327}, Completeness: evidence.Completeness{Read: 16, Counted: 16, Whole: true}, Merkle: evidence.Merkle{Root: strings.Repeat("0f", 32)},
			Population: []evidence.Population{
				{Resource: "secrets", Provider: "kms", Version: "v2", Key: "vault", KeyIDHash: hash, State: evidence.StateOK, Objects: 5, Opened: 5, Expected: true},
				{Resource: "secrets", Provider: "kms", Version: "v2", Key: "vault", KeyIDHash: hash, State: evidence.StateOK, Objects: 1, Expected: true},
				{Resource: "secrets", Provider: "kms", Version: "v1", Key: "old-vault", State: evidence.StateStale, Objects: 3, Expected: true},
				{Resource: "secrets", Provider: "aescbc", Version: "v1", Key: "key1", State: evidence.StateStale, Exception: "EX-7", Objects: 2, Expected: true},
				{Resource: "secrets", Provider: "identity", State: evidence.StatePlaintext, Objects: 1, Expected: true},
				{Resource: "widgets.example.com", Provider: "identity", State: evidence.StateNotJudged, Objects: 4},
			},
		},
		APIServers: &evidence.APIServers{Agree: new(false)},
	}
}

func write(t *testing.T, render func(io.Writer, *evidence.Document) error, d *evidence.Document) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := render(&out, d); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestGolden(t *testing.T) {
	for _, r := range renderings {
		t.Run(r.Name, func(t *testing.T) {
			got := write(t, r.Write, document())
			path := filepath.Join("testdata", r.Name)
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s\n(-update writes the file)", got, want)
			}
			if again := write(t, r.Write, document()); !bytes.Equal(again, got) {
				t.Error("the same document was written in another way")
			}
		})
	}
}

var errFull = errors.New("no space left")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriteError(t *testing.T) {
	for _, r := range renderings {
		if err := r.Write(full{}, document()); !errors.Is(err, errFull) {
			t.Errorf("%s: error %v", r.Name, err)
		}
	}
}

type problem struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// report is what a pipeline reads.
type report struct {
	Suites []struct {
		Name       string `xml:"name,attr"`
		Tests      int    `xml:"tests,attr"`
		Failures   int    `xml:"failures,attr"`
		Errors     int    `xml:"errors,attr"`
		Skipped    int    `xml:"skipped,attr"`
		Timestamp  string `xml:"timestamp,attr"`
		Properties []struct {
			Name  string `xml:"name,attr"`
			Value string `xml:"value,attr"`
		} `xml:"properties>property"`
		Cases []struct {
			Name    string    `xml:"name,attr"`
			Failure []problem `xml:"failure"`
			Error   []problem `xml:"error"`
			Skipped []problem `xml:"skipped"`
			Output  string    `xml:"system-out"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

func readJUnit(t *testing.T, text []byte) report {
	t.Helper()
	var r report
	if err := xml.Unmarshal(text, &r); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if len(r.Suites) != 1 {
		t.Fatalf("%d suites", len(r.Suites))
	}
	return r
}

func TestJUnit(t *testing.T) {
	s := readJUnit(t, write(t, pipeline.JUnit, document())).Suites[0]
	if s.Name != "svmctl" || s.Tests != 3 || s.Failures != 1 || s.Errors != 1 || s.Skipped != 0 || s.Timestamp != "2026-11-22T11:20:00Z" {
		t.Errorf("suite %+v", s)
	}
	properties := make(map[string]string)
	for _, p := range s.Properties {
		properties[p.Name] = p.Value
	}
	for name, want := range map[string]string{"cluster": "prod-eu-1", "revision": "327", "tool": "svmctl v1.2.3"} {
		if properties[name] != want {
			t.Errorf("property %s is %q, want %q", name, properties[name], want)
		}
	}
	failed, unclear, passed := s.Cases[0], s.Cases[1], s.Cases[2]
	if failed.Name != "SVM-E1" || len(failed.Failure) != 1 || len(failed.Error) > 0 {
		t.Errorf("fail is %+v", failed)
	}
	if want := "Every object that is expected to be encrypted is: 1 object of secrets is in plaintext"; failed.Failure[0].Message != want {
		t.Errorf("message %q, want %q", failed.Failure[0].Message, want)
	}
	if want := "2 are under key1\nbasis: population, etcd's count\nlimitations: L1\nexceptions: EX-7\n"; !strings.Contains(failed.Failure[0].Text, want) {
		t.Errorf("text %q lacks %q", failed.Failure[0].Text, want)
	}
	if unclear.Name != "SVM-E4" || len(unclear.Error) != 1 || len(unclear.Failure)+len(unclear.Skipped) > 0 {
		t.Errorf("inconclusive is %+v", unclear)
	}
	if passed.Name != "SVM-E8" || len(passed.Error)+len(passed.Failure)+len(passed.Skipped) > 0 || !strings.Contains(passed.Output, "Nothing is left") {
		t.Errorf("pass is %+v", passed)
	}
}

// TestJUnitIsNotGreen by accident.
func TestJUnitIsNotGreen(t *testing.T) {
	for name, claims := range map[string][]evidence.Claim{
		"no claims":         nil,
		"inconclusive":      {{ID: "SVM-E1", Result: evidence.Inconclusive}},
		"no result":         {{ID: "SVM-E1"}},
		"an unknown result": {{ID: "SVM-E1", Result: "passed"}},
	} {
		d := document()
		d.Scan.Claims = claims
		if s := readJUnit(t, write(t, pipeline.JUnit, d)).Suites[0]; s.Tests != 1 || s.Errors != 1 || len(s.Cases) != 1 || len(s.Cases[0].Error) != 1 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

var hostile = []string{
	"", " ", "a\nb", "a\r\nb", "\x00", "\x1b[31mred", "\xff\xfe", "\xff", "\ufffe", "a\u2028b", "\u202egnp.exe", "\"}\nsvmctl_scan_complete 1\n", `\`, `\"`, `\n`,
	"]]>", "</failure><testcase/>", "&#0;", "<!--", strings.Repeat("ä", 1<<12),
}

func TestJUnitHostileNames(t *testing.T) {
	for _, name := range hostile {
		t.Run(fmt.Sprintf("%.20q", name), func(t *testing.T) {
			d := document()
			d.Scan.Cluster.Label, d.Scan.Tool.Version, d.Scan.ID = name, name, name
			list := []string{name}
			d.Scan.Claims = []evidence.Claim{
				{ID: name, Statement: name, Result: evidence.Fail, Why: list, Basis: list, Limitations: list, Exceptions: list, Controls: list},
				{ID: name, Statement: name, Result: evidence.Result(name), Why: list},
				{ID: name, Statement: name, Result: evidence.Pass, Why: list},
			}
			text := write(t, pipeline.JUnit, d)
			if !utf8.Valid(text) || bytes.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' }) {
				t.Errorf("it is not printable: %q", text)
			}
			s := readJUnit(t, text).Suites[0]
			if s.Tests != 3 || len(s.Cases) != 3 || s.Failures != 1 || s.Errors != 1 {
				t.Errorf("suite %+v", s)
			}
			if printable := utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }); printable && s.Cases[0].Name != name {
				t.Errorf("name %q", s.Cases[0].Name)
			}
		})
	}
}

// readPrometheus reads as node_exporter does, and refuses what it would refuse: series that are there twice, and timestamps.
func readPrometheus(t *testing.T, text []byte) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	for name, f := range families {
		seen := make(map[string]bool)
		if f.GetHelp() == "" || f.GetType() != dto.MetricType_GAUGE {
			t.Errorf("%s has help %q and is a %s", name, f.GetHelp(), f.GetType())
		}
		for _, m := range f.GetMetric() {
			key := fmt.Sprintf("%q", labels(m))
			if seen[key] || m.TimestampMs != nil {
				t.Errorf("%s%s is there twice, or has a timestamp", name, key)
			}
			seen[key] = true
			for label, value := range labels(m) {
				if !model.LegacyValidation.IsValidLabelName(label) || !model.LabelValue(value).IsValid() {
					t.Errorf("%s has label %q=%q", name, label, value)
				}
			}
		}
	}
	return families
}

func labels(m *dto.Metric) map[string]string {
	values := make(map[string]string)
	for _, l := range m.GetLabel() {
		values[l.GetName()] = l.GetValue()
	}
	return values
}

func sum(f *dto.MetricFamily) float64 {
	var all float64
	for _, m := range f.GetMetric() {
		all += m.GetGauge().GetValue()
	}
	return all
}

func TestPrometheus(t *testing.T) {
	families := readPrometheus(t, write(t, pipeline.Prometheus, document()))
	if want := []string{"svmctl_apiserver_config_match", "svmctl_claim_result", "svmctl_objects", "svmctl_scan_complete", "svmctl_scan_revision", "svmctl_scan_timestamp_seconds"}; !slices.Equal(slices.Sorted(maps.Keys(families)), want) {
		t.Errorf("families %q", slices.Sorted(maps.Keys(families)))
	}
	finished := float64(time.Date(2026, 11, 22, 11, 20, 1, 500e6, time.UTC).UnixMilli()) / 1000
	for name, want := range map[string]float64{"svmctl_scan_timestamp_seconds": finished, "svmctl_scan_revision": 327, "svmctl_scan_complete": 1, "svmctl_apiserver_config_match": 0} {
		if f := families[name]; len(f.GetMetric()) != 1 || sum(f) != want {
			t.Errorf("%s is %v, want %v", name, sum(f), want)
		}
	}
	claims := make(map[string]float64)
	for _, m := range families["svmctl_claim_result"].GetMetric() {
		claims[labels(m)["claim"]] = m.GetGauge().GetValue()
	}
	if want := map[string]float64{"SVM-E1": 0, "SVM-E4": -1, "SVM-E8": 1}; !maps.Equal(claims, want) {
		t.Errorf("claims %v, want %v", claims, want)
	}
	got := make(map[string]float64)
	for _, m := range families["svmctl_objects"].GetMetric() {
		l := labels(m)
		if len(l) != 5 {
			t.Errorf("labels %q", l)
		}
		got[strings.Join([]string{l["group"], l["resource"], l["provider"], l["key"], l["state"]}, "|")] = m.GetGauge().GetValue()
	}
	if want := map[string]float64{
		"|secrets|kmsv2|f4baa80cf4ba|ok":          6,
		"|secrets|kmsv1|old-vault|stale":          3,
		"|secrets|aescbc|key1|stale":              2,
		"|secrets|identity||plaintext":            1,
		"example.com|widgets|identity||notJudged": 4,
	}; !maps.Equal(got, want) {
		t.Errorf("objects %v, want %v", got, want)
	}
}

func TestConfigMatch(t *testing.T) {
	for _, c := range []struct {
		servers *evidence.APIServers
		want    float64
	}{{&evidence.APIServers{Agree: new(true)}, 1}, {&evidence.APIServers{Agree: new(false)}, 0}, {&evidence.APIServers{}, -1}, {nil, -1}} {
		d := document()
		d.APIServers = c.servers
		if got := sum(readPrometheus(t, write(t, pipeline.Prometheus, d))["svmctl_apiserver_config_match"]); got != c.want {
			t.Errorf("%+v: %v, want %v", c.servers, got, c.want)
		}
	}
}

func TestPrometheusIncomplete(t *testing.T) {
	d := document()
	d.Scan.Completeness.Whole, d.Scan.Claims, d.Scan.Population = false, nil, nil
	families := readPrometheus(t, write(t, pipeline.Prometheus, d))
	if got := sum(families["svmctl_scan_complete"]); len(families) != 4 || got != 0 {
		t.Errorf("%d families, complete %v", len(families), got)
	}
}

func TestPrometheusHostileNames(t *testing.T) {
	d := document()
	d.Scan.Population, d.Scan.Claims = nil, nil
	var want int64
	for i, name := range hostile {
		for j, p := range []evidence.Population{
			{Resource: "secrets", Provider: "aescbc", Key: name, State: evidence.StateOK},
			{Resource: "secrets", Provider: "aescbc", Key: name, State: evidence.StateOK, Exception: "EX-1"},
			{Resource: "secrets", Provider: "kms", Version: "v2", Key: "vault", KeyIDHash: name, State: evidence.StateOK},
			{Resource: name + "." + name, Provider: name, Key: name, State: evidence.State(name)},
		} {
			p.Objects = int64(1000*i + j + 1)
			want += p.Objects
			d.Scan.Population = append(d.Scan.Population, p)
		}
		d.Scan.Claims = append(d.Scan.Claims, evidence.Claim{ID: fmt.Sprint(i, name), Result: evidence.Pass})
	}
	families := readPrometheus(t, write(t, pipeline.Prometheus, d))
	if got := sum(families["svmctl_objects"]); got != float64(want) || math.IsNaN(got) {
		t.Errorf("%v objects, want %d", got, want)
	}
	if got := sum(families["svmctl_scan_complete"]); len(families) != 6 || got != 1 {
		t.Errorf("%d families, complete %v", len(families), got)
	}
	keys := make(map[string]bool)
	for _, m := range families["svmctl_objects"].GetMetric() {
		keys[labels(m)["key"]] = true
	}
	for _, name := range hostile {
		if utf8.ValidString(name) && !keys[name] {
			t.Errorf("key %q is lost", name)
		}
	}
}
