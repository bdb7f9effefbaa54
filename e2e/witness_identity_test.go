package e2e

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	survey "github.com/svmctl/svmctl/internal/apiservers" // the name is taken
	"github.com/svmctl/svmctl/internal/verify/evidence"
	"github.com/svmctl/svmctl/internal/witness"
)

// TestWitnessOfIdentity asks an apiserver who it is, and what it has loaded and written.
func TestWitnessOfIdentity(t *testing.T) {
	config := encryptionOf([]string{"secrets", "deployments.apps"}, "aescbc:key1", "identity")
	p := startPlane(t, config, "--without-controller-manager", "--user", "nobody:auditors", "--user", "auditor")
	p.createSecrets(t, "default", "app", 5)
	p.kubectl(t, "", "create", "deployment", "app", "--image=example.com/app")
	p.secrets(t)
	system, err := p.kube.CoreV1().Namespaces().Get(t.Context(), metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	hash := hashOf(config)

	t.Run("admin", func(t *testing.T) {
		id := witness.Identify(t.Context(), p.rest, time.Now)
		if id.KubeSystemNamespaceUID != string(system.UID) || !strings.HasPrefix(id.KubernetesVersion, "v1.") || len(id.Unknown) > 0 {
			t.Errorf("%+v", id)
		}
		if id.User == nil || id.User.Username == "" || !slices.Contains(id.User.Groups, "system:authenticated") {
			t.Errorf("%+v", id.User)
		}
		if len(id.Corroboration) != 1 || id.Corroboration[0].SkewMS < -500 || id.Corroboration[0].SkewMS > 1500 || time.Since(id.Corroboration[0].At) > time.Minute {
			t.Errorf("%+v", id.Corroboration)
		}
		late := witness.Identify(t.Context(), p.rest, func() time.Time { return time.Now().Add(time.Hour) })
		if skew := late.Corroboration[0].SkewMS; skew < 3_599_000 || skew > 3_602_000 {
			t.Errorf("a clock that is an hour ahead is %d ms ahead", skew)
		}
	})
	t.Run("nobody", func(t *testing.T) {
		id := witness.Identify(t.Context(), restConfig(t, p.userKubeconfig("nobody")), time.Now)
		if id.User == nil || id.User.Username != "nobody" || !slices.Contains(id.User.Groups, "auditors") || id.KubernetesVersion == "" || len(id.Corroboration) != 1 {
			t.Errorf("%+v", id)
		}
		if id.KubeSystemNamespaceUID != "" || !slices.Equal(id.Unknown, []string{"UID of the namespace kube-system: 403 Forbidden"}) {
			t.Errorf("%+v", id)
		}
	})
	t.Run("apiservers", func(t *testing.T) {
		found := witness.APIServers(t.Context(), survey.Request{Config: p.rest}, survey.Question{EncryptionConfig: hash})
		if found.Agree == nil || !*found.Agree || !found.OverridesKnown || !found.Counted || found.Known != 1 || found.Answered != 1 || len(found.Servers) != 1 {
			t.Fatalf("%+v", found)
		}
		s := found.Servers[0]
		if s.EncryptionConfig != hash || s.Version == "" || time.Since(s.StartedAt) > 10*time.Minute || s.LoadedAt.Before(s.StartedAt) || s.EtcdPrefix != "/registry" || s.Hostname == "" {
			t.Errorf("%+v", s)
		}
		count := func(list []evidence.Operations, resource, prefix string) (n int64) {
			for _, o := range list {
				if o.Resource == resource && o.Prefix == prefix && o.Status == "OK" {
					n += o.Count
				}
			}
			return n
		}
		for _, prefix := range []string{"k8s:enc:aescbc:v1:", "key1:"} {
			if n := count(s.Writes, "secrets", prefix); n != 5 {
				t.Errorf("%d writes of secrets under %s, want 5: %+v", n, prefix, s.Writes)
			}
		}
		if count(s.Writes, "deployments.apps", "key1:") == 0 || count(s.Reads, "secrets", "key1:") == 0 || count(s.Writes, "configmaps", "") != 0 {
			t.Errorf("%+v, %+v", s.Writes, s.Reads)
		}
		for _, flag := range []string{"encryption-provider-config", "encryption-provider-config-automatic-reload", "etcd-prefix", "etcd-servers", "etcd-servers-overrides", "storage-media-type"} {
			if _, told := s.Flags[flag]; !told {
				t.Errorf("%s is not among %v", flag, s.Flags)
			}
		}
		if len(s.Flags) != 6 || s.Flags["encryption-provider-config"] != p.config {
			t.Errorf("%v", s.Flags)
		}
		other := witness.APIServers(t.Context(), survey.Request{Config: p.rest}, survey.Question{EncryptionConfig: hashOf("other")})
		if other.Agree == nil || *other.Agree || len(other.Disagreements) != 1 || !strings.Contains(other.Disagreements[0], hash) {
			t.Errorf("%+v", other)
		}
	})
	t.Run("apiservers, without rights", func(t *testing.T) {
		found := witness.APIServers(t.Context(), survey.Request{Config: restConfig(t, p.userKubeconfig("nobody"))}, survey.Question{EncryptionConfig: hash})
		if found.Agree != nil || found.OverridesKnown || found.Counted || found.Answered != 1 || len(found.Unchecked) == 0 || !strings.Contains(strings.Join(found.Unchecked, "\n"), "403 Forbidden") {
			t.Errorf("%+v", found)
		}
		if s := found.Servers[0]; s.MetricsRead || s.MetricsProblem != "403 Forbidden" || s.FlagsProblem != "403 Forbidden" || s.EncryptionConfig != "" || !s.StartedAt.IsZero() {
			t.Errorf("%+v", s)
		}
	})
	t.Run("with the rights of docs/rbac.md", func(t *testing.T) {
		text, err := os.ReadFile("../docs/rbac.md")
		if err != nil {
			t.Fatal(err)
		}
		for block := range strings.SplitSeq(string(text), "```yaml\n") {
			if manifest, _, _ := strings.Cut(block, "```"); strings.Contains(manifest, "svmctl-evidence") {
				p.kubectl(t, manifest, "apply", "-f", "-")
			}
		}
		p.kubectl(t, "", "create", "clusterrolebinding", "auditor", "--clusterrole=svmctl-evidence", "--user=auditor")
		cfg := restConfig(t, p.userKubeconfig("auditor"))
		await(t, 20*time.Second, "the apiserver to know the role", func(ctx context.Context) (bool, string) {
			id := witness.Identify(ctx, cfg, time.Now)
			return len(id.Unknown) == 0, fmt.Sprint(id.Unknown)
		})
		found := witness.APIServers(t.Context(), survey.Request{Config: cfg}, survey.Question{EncryptionConfig: hash})
		if found.Agree == nil || !*found.Agree || !found.OverridesKnown || !found.Counted {
			t.Errorf("%+v", found)
		}
		if rec := p.reconcile(t, cfg, "/registry"); !rec.Match {
			t.Errorf("%+v", unequal(rec))
		}
	})
	t.Run("apiservers that are not there", func(t *testing.T) {
		p.playground(t, "kill", "kube-apiserver")
		found := witness.APIServers(t.Context(), survey.Request{Config: p.rest}, survey.Question{EncryptionConfig: hash})
		if found.Agree != nil || found.OverridesKnown || found.Answered != 0 || len(found.Unchecked) == 0 || len(found.Servers) != 1 || found.Servers[0].Problem != "connection refused" {
			t.Errorf("%+v", found)
		}
		id := witness.Identify(t.Context(), p.rest, time.Now)
		if len(id.Unknown) != 4 || id.User != nil || !strings.HasSuffix(id.Unknown[0], ": connection refused") {
			t.Errorf("%+v", id)
		}
		revision := p.revision(t)
		_, _, err := witness.Reconcile(t.Context(), witness.Comparison{Config: p.rest, Revision: revision, Objects: p.objectsAt(t.Context(), revision, "/registry")})
		if err == nil || err.Error() != "listing what the API serves: connection refused" {
			t.Errorf("error %v", err)
		}
	})
}

// hashOf is how an apiserver names a configuration.
func hashOf(config string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(config))) }
