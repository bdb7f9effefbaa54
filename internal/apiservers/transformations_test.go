package apiservers

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

func counted(resource, way, prefix, status string, n any) string {
	return fmt.Sprintf("%s{resource=%q,status=%q,transformation_type=%q,transformer_prefix=%q} %v\n", storageOps, resource, status, way, prefix, n)
}

func TestTransformations(t *testing.T) {
	p := newPlane(t, 1)
	p.servers[0].extra = counted("secrets", "from_storage", "k8s:enc:aescbc:v1:", "OK", 7) + counted("secrets", "to_storage", "", "OK", 3) +
		counted("events.events.k8s.io", "to_storage", "k8s:enc:kms:v2:vault:", "OK", "1.2345678e+07") +
		counted("secrets", "to_storage", "key1:", "OK", 2) + counted("secrets", "from_storage", "unknown", "Unknown", 1)
	p.servers[0].started = "1.70000000012e+09"
	ask := func() Server {
		return Ask(t.Context(), Request{Config: p.config(), Resources: []schema.GroupResource{}}).Distinct()[0]
	}
	want := []Transformation{
		{"events.events.k8s.io", true, "k8s:enc:kms:v2:vault:", "OK", 12345678},
		{"secrets", true, "", "OK", 3},
		{"secrets", true, "key1:", "OK", 2},
		{"secrets", false, "k8s:enc:aescbc:v1:", "OK", 7},
		{"secrets", false, "unknown", "Unknown", 1},
	}
	server := ask()
	if !slices.Equal(server.Transformations, want) {
		t.Errorf("%+v", server.Transformations)
	}
	if at := server.StartedAt(); at.UnixMilli() != 1_700_000_000_120 {
		t.Errorf("started at %s", at)
	}
	for _, bad := range []string{counted("secrets", "elsewhere", "", "OK", 1), storageOps + "{resource=\"a} 1\n"} {
		p.servers[0].extra = bad
		if s := ask(); s.MetricsRead || s.MetricsProblem != errStrange.Error() || s.Transformations != nil {
			t.Errorf("%s is read as %+v, %q", bad, s.Transformations, s.MetricsProblem)
		}
	}
	// As before 1.33.
	p.servers[0].extra = storageOps + "{status=\"OK\",transformation_type=\"to_storage\",transformer_prefix=\"key1:\"} 4\n"
	if s := ask(); !slices.Equal(s.Transformations, []Transformation{{"", true, "key1:", "OK", 4}}) {
		t.Errorf("%+v", s.Transformations)
	}
	p.servers[0].instead = p.servers[0].extra
	if s := ask(); s.MetricsRead || s.Transformations != nil {
		t.Errorf("what is not known to be an apiserver has counted %+v", s.Transformations)
	}
	if at := (Server{}).StartedAt(); !at.IsZero() {
		t.Errorf("a server that nobody asked was started at %s", at)
	}
}

// TestManyTransformations has more counters than are told apart, and more than can be.
func TestManyTransformations(t *testing.T) {
	var text strings.Builder
	for i := range 3 * maxCounts {
		text.WriteString(counted(fmt.Sprintf("r%d.example.com", i), "to_storage", "key1:", "OK", 2))
	}
	kept, all, err := keepAndCount(strings.NewReader(text.String() + buildInfo + " 1\n"))
	if err != nil || string(kept) != buildInfo+" 1\n" || !slices.Equal(all, []Transformation{{"", true, "key1:", "OK", 6 * maxCounts}}) {
		t.Errorf("%q, %d counters, %v", kept, len(all), err)
	}
	for i := range 3 * maxCounts {
		text.WriteString(counted("secrets", "to_storage", fmt.Sprintf("key%d:", i), "OK", 2))
	}
	if _, _, err := keepAndCount(strings.NewReader(text.String())); !errors.Is(err, errTooLong) {
		t.Errorf("error %v", err)
	}
}

func TestRawFlags(t *testing.T) {
	p := newPlane(t, 1)
	p.servers[0].flags = `{"kind":"Flagz","flags":{"etcd-servers-overrides":"[/events#https://me:` + canary + `@10.0.0.1:2379;https://me:p@x@10.0.0.2:2379]","etcd-prefix":"/registry",
		"etcd-servers":"[https://me:` + canary + `@a:2379,https://b:2379]","encryption-provider-config":"/etc/enc.yaml","token-auth-file":"/etc/tokens","storage-media-type":"application/vnd.kubernetes.protobuf"}}`
	s := Ask(t.Context(), Request{Config: p.config(), Resources: []schema.GroupResource{}, Flags: true}).Distinct()[0]
	want := map[string]string{"etcd-servers-overrides": "[/events#https://10.0.0.1:2379;https://10.0.0.2:2379]", "etcd-prefix": "/registry",
		"etcd-servers": "[https://a:2379,https://b:2379]", "encryption-provider-config": "/etc/enc.yaml", "storage-media-type": "application/vnd.kubernetes.protobuf"}
	if s.Flags == nil || !maps.Equal(s.Flags.Raw, want) || !slices.Equal(s.Flags.Overrides[0].Endpoints, []string{"https://10.0.0.1:2379", "https://10.0.0.2:2379"}) {
		t.Errorf("%+v, %q", s.Flags, s.FlagsProblem)
	}
}

func TestSentence(t *testing.T) {
	d := Disagreement{Server: "10.0.0.1:6443", Identity: "apiserver-1 (cp-1)", What: encryptionConfiguration, Found: idOf("old"), Wanted: idOf("new"), ReloadedAt: time.Unix(0, 0)}
	want := "10.0.0.1:6443 (apiserver-1 (cp-1)): EncryptionConfiguration is " + idOf("old") + ", and should be " + idOf("new") + ", reloaded at 1970-01-01T00:00:00Z"
	if d.String() != want {
		t.Error(d.String())
	}
	if short := (Agreement{Disagreements: []Disagreement{d}}).Summary(); strings.Contains(short, idOf("old")) || !strings.Contains(short, "reloaded at 00:00:00Z") {
		t.Error(short)
	}
}

// TestEach has an address that leads nowhere: of an apiserver that another address leads to, or of one more.
func TestEach(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(p *plane)
		want  []int // answered or not, in the order of the list: 1 or 0
	}{
		{"all answer", func(*plane) {}, []int{1, 1}},
		{"one is down", func(p *plane) { p.servers[1].down = true }, []int{0, 1}},
		{"one by another address", func(p *plane) { p.servers[0].external = nowhere; p.endpoints[0] = nowhere }, []int{1, 1}},
		{"one more", func(p *plane) { p.endpoints = append(p.endpoints, nowhere) }, []int{0, 1, 1}},
		{"none answers", func(p *plane) { p.servers[0].down, p.servers[1].down = true, true }, []int{0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlane(t, 2)
			c.spoil(p)
			var got []int
			for _, s := range Ask(t.Context(), Request{Config: p.config(), Resources: []schema.GroupResource{}}).Each() {
				got = append(got, map[bool]int{true: 1}[s.Answered])
			}
			if slices.Sort(got); !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}
