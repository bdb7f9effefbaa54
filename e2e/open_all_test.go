package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kmstypes "k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2/v2"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
)

// TestOpenEveryProvider has all providers in use at once, over built-in and custom resources under two storage roots.
func TestOpenEveryProvider(t *testing.T) {
	c := startCipherPlane(t)
	t.Run("all", c.wantAllOpened)
	t.Run("calls to plugins", c.wantCallsAnnounced)
	t.Run("not all", c.wantClosed)
	t.Run("candidates", c.wantCandidatePluginsAsked)
	t.Run("copied", c.wantCopiesFound)
	t.Run("damaged", c.wantDamageFound)
	t.Run("files", c.wantFilesRefused)
	t.Run("many data keys", c.wantPluginSpared)
	c.wantNothingLeft(t)
}

// wantAllOpened: every value is opened, and each resource is what its apiserver says it is.
func (c *cipherPlane) wantAllOpened(t *testing.T) {
	audit := c.svmctl(t, "audit", "--encryption-provider-config", c.config, "-o", "json")
	// KMS v1 does not show its key encryption key.
	audit.wantCode(t, 4)
	report := audit.audit(t)
	if len(report.Reasons) != 2 || report.reason("UnknownKeyID").Resource != "configmaps" || report.reason("Unauthenticated").Severity != "info" {
		t.Errorf("reasons %+v", report.Reasons)
	}

	// That they are encrypted at all can be seen.
	audit = c.svmctl(t, "audit", "--encryption-provider-config", c.config, "--expect", "configmaps=encrypted", "-o", "json")
	audit.wantCode(t, 0)
	report = audit.audit(t)
	if verdict(report.Verdict) != "Complete" || len(report.Findings) != 0 || report.EncryptionConfig == nil || report.EncryptionConfig.Open != "all" {
		t.Errorf("verdict %s, %d findings, %+v", verdict(report.Verdict), len(report.Findings), report.EncryptionConfig)
	}
	c.wantSums(t, report)

	seen := make(map[string]bool)
	for root := range c.roots {
		seen[root+" identity"] = true // counted below, where it is the rule
		api := c.served(t, root, report.Source.Revision)
		counted := make(map[string]int64)
		for _, g := range report.Groups {
			if g.Root != root || g.Resource == "" {
				continue
			}
			name := schema.GroupResource{Group: g.Group, Resource: g.Resource}.String()
			counted[name] += g.Objects
			as, authenticated := c.ruled(g.Resource, g.Group)
			if got := fmt.Sprint(g.AtRest.Provider, " ", g.AtRest.Version, " ", g.AtRest.Key); got != as || g.AtRest.KeyInferred {
				t.Errorf("%s under %s is %q, want %q", name, root, got, as)
			}
			if g.Opened != "verified" || g.Authenticated != authenticated || g.Note != "" {
				t.Errorf("%s under %s: opened %s, authenticated %v, note %q", name, root, g.Opened, g.Authenticated, g.Note)
			}
			served := api[name]
			if g.Stored == nil || g.Stored.Kind != served.kind || storageHash(g.Stored.APIVersion, g.Stored.Kind) != served.hash {
				t.Errorf("%s under %s is stored as %+v, and its apiserver stores %s of another version", name, root, g.Stored, served.kind)
			}
			seen[root+" "+as] = true
		}
		want := make(map[string]int64)
		for name, r := range api {
			if r.objects > 0 {
				want[name] = r.objects
			}
		}
		if !maps.Equal(counted, want) {
			t.Errorf("under %s\nsvmctl counts %v\nits API has   %v", root, counted, want)
		}
		for version, name := range map[string]string{"v1": "/registry", "v2": "/kubernetes.io"} {
			if name == root && api[gadgetCRD].hash != storageHash("stable.example.com/"+version, "Gadget") {
				t.Errorf("gadgets are not stored at %s under %s", version, root)
			}
		}
	}
	if len(seen) != 2*7 {
		t.Errorf("not every provider is in use: %v", seen)
	}
}

// servedResource is what an apiserver says of a resource.
type servedResource struct {
	kind    string
	hash    string // of the version that it stores
	objects int64
}

// served asks the apiserver of a root for all there is, as it was at a revision.
func (c *cipherPlane) served(t *testing.T, root string, revision int64) map[string]servedResource {
	t.Helper()
	discover, err := discovery.NewDiscoveryClientForConfig(c.roots[root])
	if err != nil {
		t.Fatal(err)
	}
	discover.UseLegacyDiscovery = true // the other kind has no hashes
	_, lists, err := discover.ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	objects, err := metadata.NewForConfig(c.roots[root])
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]servedResource)
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list.APIResources {
			name := schema.GroupResource{Group: gv.Group, Resource: r.Name}.String()
			if _, again := all[name]; again || r.StorageVersionHash == "" || gv.Group == "events.k8s.io" {
				continue
			}
			got, err := objects.Resource(gv.WithResource(r.Name)).List(t.Context(), metav1.ListOptions{
				ResourceVersion: fmt.Sprint(revision), ResourceVersionMatch: metav1.ResourceVersionMatchExact})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			all[name] = servedResource{r.Kind, r.StorageVersionHash, int64(len(got.Items))}
		}
	}
	return all
}

// storageHash is how discovery writes the version at which a resource is stored.
func storageHash(apiVersion, kind string) string {
	gv, _ := schema.ParseGroupVersion(apiVersion)
	sum := sha256.Sum256([]byte(strings.Join([]string{gv.Group, gv.Version, kind}, "/")))
	return base64.StdEncoding.EncodeToString(sum[:8])
}

// wantCallsAnnounced: each plugin is asked once for each encrypted data key, and svmctl says so before it asks.
func (c *cipherPlane) wantCallsAnnounced(t *testing.T) {
	v1, v2 := c.dataKeys(t)
	if v1 < 11 || v2 != 2 {
		t.Fatalf("%d and %d data keys: v1 has one for each write, v2 one for each apiserver", v1, v2)
	}
	wasV1, wasV2 := c.v1.decrypted(t), c.v2.decrypted(t)
	audit := c.svmctl(t, "audit", "--encryption-provider-config", c.config)
	if got := c.v1.decrypted(t) - wasV1; got != v1 {
		t.Errorf("the v1 plugin was asked %d times for %d data keys", got, v1)
	}
	if got := c.v2.decrypted(t) - wasV2; got != v2 {
		t.Errorf("the v2 plugin was asked %d times for %d data keys", got, v2)
	}
	said := fmt.Sprintf("svmctl: opening the values asks the KMS plugin older for %d data keys\nsvmctl: opening the values asks the KMS plugin vault for %d data keys\n", v1, v2)
	if audit.stderr != said {
		t.Errorf("stderr is\n%swant\n%s", audit.stderr, said)
	}

	c.wantSaidBefore(t, said)
	c.wantSilentPlugin(t, said)
}

// wantSaidBefore has a plugin take its time, which an apiserver's file limits to three seconds: what is on stderr sooner was
// said before the plugin was asked.
func (c *cipherPlane) wantSaidBefore(t *testing.T, said string) {
	t.Helper()
	c.v1.steer(t, "/delay?of=1m")
	defer c.v1.steer(t, "/delay?of=0s")
	cmd := c.command(t, "audit", "--encryption-provider-config", c.config)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(said))
	_, err = io.ReadFull(stderr, got)
	took := time.Since(started)
	cmd.Process.Signal(os.Interrupt)
	io.Copy(io.Discard, stderr)
	cmd.Wait()
	if err != nil || string(got) != said || took > 2*time.Second {
		t.Errorf("%v: stderr is %q after %s", err, got, took)
	}
}

// wantSilentPlugin: what a plugin does not open is not open, and nothing else suffers.
func (c *cipherPlane) wantSilentPlugin(t *testing.T, said string) {
	t.Helper()
	c.v2.steer(t, "/fail?for=1m")
	defer c.v2.steer(t, "/fail?for=0s")
	down := c.svmctl(t, "audit", "--encryption-provider-config", c.config, "--expect", "configmaps=encrypted", "-o", "json")
	down.wantCode(t, 4)
	down.wantError(t, "vault", c.v2.socket, "does not answer", "control-plane node")
	if !strings.HasPrefix(down.stderr, said) {
		t.Errorf("stderr does not begin with what the plugins are asked for\n%s", down.stderr)
	}
	report := down.audit(t)
	if verdict(report.Verdict) != "Indeterminate" {
		t.Errorf("verdict %s", verdict(report.Verdict))
	}
	// Whoever opens nothing needs no plugin, and the exit status is that of the verdict.
	closed := c.svmctl(t, "audit", "--encryption-provider-config", c.config, "--open", "none", "--expect", "configmaps=encrypted", "--expect", "secrets=encrypted", "-o", "json")
	if v := verdict(closed.audit(t).Verdict); v != "Complete" || closed.code != 0 || closed.stderr != "" {
		t.Errorf("verdict %s, exit status %d, stderr\n%s", v, closed.code, closed.stderr)
	}
	for _, g := range report.Groups {
		if g.Resource != "" && (g.Opened == "verified") == (g.Resource == "secrets") {
			t.Errorf("opened %s: %+v", g.Opened, g)
		}
	}
}

// dataKeys counts in etcd, apart from svmctl, the encrypted data keys that differ.
func (c *cipherPlane) dataKeys(t *testing.T) (v1, v2 int64) {
	t.Helper()
	older, newer := make(map[string]bool), make(map[string]bool)
	for root := range c.roots {
		for _, kv := range c.raw(t, root+"/") {
			if body, ok := strings.CutPrefix(string(kv.Value), "k8s:enc:kms:v1:older:"); ok {
				older[body[:2+int(body[0])<<8+int(body[1])]] = true
			}
			if body, ok := strings.CutPrefix(string(kv.Value), "k8s:enc:kms:v2:vault:"); ok {
				o := new(kmstypes.EncryptedObject)
				if err := proto.Unmarshal([]byte(body), o); err != nil {
					t.Fatal(err)
				}
				newer[string(o.EncryptedDEKSource)] = true
			}
		}
	}
	return int64(len(older)), int64(len(newer))
}
