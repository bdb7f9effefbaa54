package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	selfies    = "selfierequests.stable.example.com"
	selfiePath = "/stable.example.com/selfierequests/" // below the root in etcd
)

// selfieWebhook is the process that converts SelfieRequests. It keeps its address when it is started again.
type selfieWebhook struct {
	webhook
	address string
}

// startSelfieWebhook serves the conversion webhook until the test ends.
func (p *plane) startSelfieWebhook(t *testing.T, flags ...string) *selfieWebhook {
	t.Helper()
	hook := &selfieWebhook{webhook: webhook{p: p}, address: "127.0.0.1:0"}
	hook.start(t, flags...)
	t.Cleanup(hook.stop)
	return hook
}

// restart serves it with other flags.
func (h *selfieWebhook) restart(t *testing.T, flags ...string) {
	t.Helper()
	h.stop()
	h.start(t, flags...)
}

func (h *selfieWebhook) start(t *testing.T, flags ...string) {
	t.Helper()
	ready := filepath.Join(h.p.dir, "selfie-webhook-url")
	os.Remove(ready)
	h.cmd = exec.Command(playgroundBinary(t), append([]string{"conversion", "--dir", h.p.dir, "--addr", h.address, "--ready-file", ready}, flags...)...)
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, 30*time.Second, "the conversion webhook to listen", func(context.Context) (bool, string) {
		url, err := os.ReadFile(ready)
		h.url = strings.TrimSpace(string(url))
		return err == nil, fmt.Sprint(err)
	})
	h.address = strings.TrimPrefix(h.url, "https://")
}

// selfieFile is the path of one of the guide's manifests.
func selfieFile(name string) string { return filepath.Join("..", "testdata", "crd", name+".yaml") }

// defineSelfies applies one of the guide's definitions, with the webhook filled in where it has one.
func (p *plane) defineSelfies(t *testing.T, name string, hook *selfieWebhook) {
	t.Helper()
	if hook == nil {
		p.kubectl(t, "", "apply", "-f", selfieFile(name))
	} else {
		p.kubectl(t, p.playground(t, "conversion-crd", selfieFile(name), "--url", hook.url), "apply", "-f", "-")
	}
	p.kubectl(t, "", "wait", "--for=condition=Established", "crd/"+selfies)
}

// awaitSelfiesWrittenAs waits until the apiserver has taken up which version is the storage version.
func (p *plane) awaitSelfiesWrittenAs(t *testing.T, version string) {
	t.Helper()
	const name = "probe"
	await(t, 30*time.Second, "the apiserver to write "+version, func(ctx context.Context) (bool, string) {
		created := p.createSelfie(ctx, name)
		as := p.selfiesStored(t)[name].version
		deleted := p.kube.Discovery().RESTClient().Delete().AbsPath(selfieURL(version, name)).Do(ctx).Error()
		return created == nil && deleted == nil && as == version, fmt.Sprintf("created: %v, as %s, deleted: %v", created, as, deleted)
	})
}

func selfieURL(version, name string) string {
	return strings.TrimSuffix("/apis/stable.example.com/"+version+"/namespaces/default/selfierequests/"+name, "/")
}

// createSelfie makes one as v1, whose host is a canary.
func (p *plane) createSelfie(ctx context.Context, name string) error {
	body := fmt.Appendf(nil, `{"apiVersion": "stable.example.com/v1", "kind": "SelfieRequest", "metadata": {"name": %q}, "spec": {"hostPort": "%s:1234"}}`, name, canaryInData)
	return p.kube.Discovery().RESTClient().Post().AbsPath(selfieURL("v1", "")).Body(body).Do(ctx).Error()
}

// createSelfies makes count of them as v1, named selfie-00000 and so on.
func (p *plane) createSelfies(t *testing.T, count int) {
	t.Helper()
	inParallel(t, 16, count, func(ctx context.Context, i int) error {
		return p.createSelfie(ctx, fmt.Sprintf("selfie-%05d", i))
	})
}

// pulseSelfies writes one again and again until stop is called.
func (p *plane) pulseSelfies(t *testing.T, version, name string) (stop func()) {
	t.Helper()
	return pulse(t, func(ctx context.Context, n int) {
		patch := fmt.Appendf(nil, `{"metadata": {"annotations": {"pulse": "%d"}}}`, n)
		_ = p.kube.Discovery().RESTClient().Patch(types.MergePatchType).AbsPath(selfieURL(version, name)).Body(patch).Do(ctx).Error()
	})
}

// storedSelfie is what etcd itself says of one.
type storedSelfie struct {
	version  string
	revision int64
}

// selfiesStored are all of them by name, wherever the apiserver's root is.
func (p *plane) selfiesStored(t *testing.T) map[string]storedSelfie {
	t.Helper()
	found := make(map[string]storedSelfie)
	for _, root := range []string{"/registry", "/kubernetes.io"} {
		for _, kv := range p.raw(t, root+selfiePath) {
			var header struct {
				APIVersion string `json:"apiVersion"`
			}
			if err := json.Unmarshal(kv.Value, &header); err != nil {
				t.Fatalf("%s: %v", kv.Key, err)
			}
			found[filepath.Base(string(kv.Key))] = storedSelfie{strings.TrimPrefix(header.APIVersion, "stable.example.com/"), kv.ModRevision}
		}
	}
	return found
}

// wantSelfies checks in etcd, apart from svmctl, how many are stored at each version.
func (p *plane) wantSelfies(t *testing.T, want map[string]int) {
	t.Helper()
	counts := make(map[string]int)
	for _, s := range p.selfiesStored(t) {
		counts[s.version]++
	}
	if !maps.Equal(counts, want) {
		t.Errorf("etcd holds %v, want %v", counts, want)
	}
}

// wantSelfieStoredVersions checks status.storedVersions, as JSON.
func (p *plane) wantSelfieStoredVersions(t *testing.T, want string) {
	t.Helper()
	if got := p.kubectl(t, "", "get", "crd", selfies, "-o", "jsonpath={.status.storedVersions}"); got != want {
		t.Errorf("storedVersions is %s, want %s", got, want)
	}
}
