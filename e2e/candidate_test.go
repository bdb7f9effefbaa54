package e2e

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
)

// candidateRules has secrets and configmaps in rules of their own.
func candidateRules(secrets, configmaps []string) string {
	return encryptionRules(encryptionRule([]string{"secrets"}, secrets...), encryptionRule([]string{"configmaps"}, configmaps...))
}

// TestCandidate rolls out for real what was judged before, and compares with what the apiserver then does. Secrets and
// configmaps lie in plaintext, under key1 and under key2, as after two rotations that were never finished.
func TestCandidate(t *testing.T) {
	all := func(providers ...string) string { return candidateRules(providers, providers) }
	p := startPlane(t, all("identity", "aescbc:key1", "aescbc:key2"), "--without-controller-manager")
	p.createBoth(t, "plain")
	p.rotate(t, all("aescbc:key1", "identity", "aescbc:key2"))
	p.createBoth(t, "one")
	present := []string{"aescbc:key2", "aescbc:key1", "identity"}
	p.rotate(t, all(present...))
	p.createBoth(t, "two")

	for _, c := range []struct {
		name, config string
		unread       map[string]string // objects whose names begin so, and the reason
		rewrites     []string
	}{
		{"drops key1", all("aescbc:key2", "identity"),
			map[string]string{"secrets/one": "no such key", "configmaps/one": "no such key"}, []string{"secrets/plain", "configmaps/plain"}},
		{"drops key1 for one resource", candidateRules([]string{"aescbc:key2", "identity"}, present),
			map[string]string{"secrets/one": "not for this resource"}, []string{"secrets/plain", "configmaps/plain", "configmaps/one"}},
		{"drops identity", all("aescbc:key2", "aescbc:key1"),
			map[string]string{"secrets/plain": "no identity", "configmaps/plain": "no identity"}, []string{"secrets/one", "configmaps/one"}},
		{"drops a rule", encryptionRules(encryptionRule([]string{"configmaps"}, present...)),
			map[string]string{"secrets/one": "not for this resource", "secrets/two": "not for this resource"}, []string{"configmaps/plain", "configmaps/one"}},
		{"has other material", all("aescbc:key2", "aescbc:key1=other", "identity"),
			map[string]string{"secrets/one": "other material", "configmaps/one": "other material"}, []string{"secrets/plain", "configmaps/plain"}},
		{"is the present one", all(present...), nil, []string{"secrets/one", "secrets/plain", "configmaps/one", "configmaps/plain"}},
		{"adds key3", candidateRules(append([]string{"aescbc:key3"}, present...), present),
			nil, []string{"secrets/one", "secrets/two", "secrets/plain", "configmaps/one", "configmaps/plain"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			unread, rewritten := p.judgedCandidate(t, c.config, c.unread)
			p.wantBegins(t, unread, slices.Collect(maps.Keys(c.unread)))
			p.wantBegins(t, rewritten, c.rewrites)

			p.rotate(t, c.config)
			if refused := p.unreadable(t); !refused.Equal(unread) {
				t.Errorf("the apiserver cannot read %v\nsvmctl said          %v", sets.List(refused), sets.List(unread))
			}
			if c.name == "adds key3" {
				if changed := p.writeAll(t); !changed.Equal(rewritten) {
					t.Errorf("the apiserver rewrote %v\nsvmctl said       %v", sets.List(changed), sets.List(rewritten))
				}
			} else {
				p.rotate(t, all(present...))
			}
		})
	}
	p.wantNothingLeft(t)
}

// judgedCandidate is what svmctl says that an apiserver with a candidate could not read, and what it would rewrite.
func (p *plane) judgedCandidate(t *testing.T, config string, why map[string]string) (unread, rewritten sets.Set[string]) {
	t.Helper()
	file := filepath.Join(p.dir, "candidate.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	code, want := 0, "Complete"
	if len(why) > 0 {
		code, want = 3, "Incomplete"
	}
	audit := p.svmctl(t, "audit", "--encryption-provider-config", p.config, "--candidate", file, "-o", "json")
	audit.wantCode(t, code)
	report := audit.audit(t)
	if verdict(report.Verdict) != want || report.Candidate == nil || report.Candidate.Path != file || report.EncryptionConfig.Path != p.config {
		t.Errorf("verdict %s, candidate %+v beside %+v", verdict(report.Verdict), report.Candidate, report.EncryptionConfig)
	}
	unread, rewritten = sets.New[string](), sets.New[string]()
	for _, f := range report.Findings {
		name := f.Resource + "/" + f.Name
		kind, _, _ := strings.Cut(name, "-")
		switch {
		case f.Code == "CandidateCannotRead" && f.Severity == "error" && strings.Contains(f.Message, why[kind]):
			unread.Insert(name)
		case f.Code == "CandidateRewrites" && f.Severity == "info":
			rewritten.Insert(name)
		default:
			t.Errorf("%+v", f)
		}
	}

	// Whatever is left closed, and whichever file is taken for the present one, no doubt becomes a yes. An apiserver's file may
	// have been edited before the apiserver has taken it up.
	for _, args := range [][]string{{}, {"--open", "none"}, {"--open", "sample"}, {"--encryption-provider-config", p.config, "--open", "none"}, {"--encryption-provider-config", file}} {
		r := p.svmctl(t, append([]string{"audit", "--candidate", file}, args...)...)
		if len(why) > 0 && r.code == 0 {
			t.Errorf("exit status 0 although the apiserver could not read %v\n%s", sets.List(unread), r)
		}
	}
	return unread, rewritten
}

// wantBegins wants all objects whose names begin so, and no others but those that the apiserver makes itself.
func (p *plane) wantBegins(t *testing.T, got sets.Set[string], beginnings []string) {
	t.Helper()
	want := sets.New[string]()
	for _, b := range beginnings {
		for i := range 3 {
			want.Insert(fmt.Sprintf("%s-%d", b, i))
		}
	}
	for name := range got {
		if strings.HasPrefix(name, "configmaps/extension-apiserver") || strings.HasPrefix(name, "configmaps/kube-apiserver") {
			want.Insert(name)
		}
	}
	if !got.Equal(want) {
		t.Errorf("got  %v\nwant %v", sets.List(got), sets.List(want))
	}
}

// createBoth makes three secrets and three configmaps.
func (p *plane) createBoth(t *testing.T, prefix string) {
	t.Helper()
	inParallel(t, 6, 6, func(ctx context.Context, i int) (err error) {
		name := fmt.Sprintf("%s-%d", prefix, i/2)
		if i%2 == 0 {
			_, err = p.kube.CoreV1().Secrets("default").Create(ctx, secret("default", name, name), metav1.CreateOptions{})
			return err
		}
		config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"password": canaryInData}}
		_, err = p.kube.CoreV1().ConfigMaps("default").Create(ctx, config, metav1.CreateOptions{})
		return err
	})
}

// bothResources calls f for each secret and configmap that etcd holds.
func (p *plane) bothResources(t *testing.T, f func(resource, namespace, name string)) {
	t.Helper()
	for _, resource := range []string{"secrets", "configmaps"} {
		for _, kv := range p.raw(t, "/registry/"+resource+"/") {
			namespace, name, _ := strings.Cut(strings.TrimPrefix(string(kv.Key), "/registry/"+resource+"/"), "/")
			f(resource, namespace, name)
		}
	}
}

// unreadable are the objects that the apiserver cannot read.
func (p *plane) unreadable(t *testing.T) sets.Set[string] {
	t.Helper()
	refused := sets.New[string]()
	p.bothResources(t, func(resource, namespace, name string) {
		_, err := p.kube.CoreV1().RESTClient().Get().Resource(resource).Namespace(namespace).Name(name).DoRaw(t.Context())
		if err != nil {
			refused.Insert(resource + "/" + name)
		}
	})
	return refused
}

// writeAll puts each object as it is, and tells which of them were written.
func (p *plane) writeAll(t *testing.T) sets.Set[string] {
	t.Helper()
	written := sets.New[string]()
	revision := func(resource, namespace, name string) int64 {
		return p.raw(t, "/registry/"+resource+"/"+namespace+"/"+name)[0].ModRevision
	}
	p.bothResources(t, func(resource, namespace, name string) {
		was := revision(resource, namespace, name)
		rest := p.kube.CoreV1().RESTClient()
		body, err := rest.Get().Resource(resource).Namespace(namespace).Name(name).DoRaw(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err = rest.Put().Resource(resource).Namespace(namespace).Name(name).Body(body).DoRaw(t.Context()); err != nil {
			t.Fatal(err)
		}
		if revision(resource, namespace, name) != was {
			written.Insert(resource + "/" + name)
		}
	})
	return written
}
