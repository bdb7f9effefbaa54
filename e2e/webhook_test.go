package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const webhookName = "playground.svmctl.dev"

// webhook is an admission webhook for updates of secrets.
type webhook struct {
	p   *plane
	url string
	cmd *exec.Cmd
}

// startWebhook serves the playground's webhook with the given flags and has the apiserver ask it.
func (p *plane) startWebhook(t *testing.T, flags ...string) *webhook {
	t.Helper()
	ready := filepath.Join(p.dir, "webhook-url")
	os.Remove(ready)
	cmd := exec.Command(playgroundBinary(t), append([]string{"webhook", "--dir", p.dir, "--ready-file", ready}, flags...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hook := &webhook{p: p, cmd: cmd}
	t.Cleanup(hook.stop)
	await(t, 30*time.Second, "the webhook to listen", func(context.Context) (bool, string) {
		url, err := os.ReadFile(ready)
		hook.url = strings.TrimSpace(string(url))
		return err == nil, fmt.Sprint(err)
	})
	p.kubectl(t, p.playground(t, "webhook-config", "--url", hook.url), "apply", "-f", "-")
	hook.awaitCalls(t, func(asked bool) bool { return asked })
	return hook
}

// awaitCalls waits until the apiserver asks the webhook, or no longer does: it takes up a changed configuration after
// some time. The secret it tries with goes again.
func (w *webhook) awaitCalls(t *testing.T, done func(asked bool) bool) {
	t.Helper()
	w.p.kubectl(t, "", "create", "secret", "generic", "probe", "-n", "default")
	defer w.p.kubectl(t, "", "delete", "secret", "probe", "-n", "default")
	n := 0
	await(t, 30*time.Second, "the apiserver to take up the webhook's configuration", func(ctx context.Context) (bool, string) {
		before := w.counts(t)
		n++
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"n":"%d"}}}`, n)
		_, err := w.p.kube.CoreV1().Secrets("default").Patch(ctx, "probe", types.MergePatchType, patch, metav1.PatchOptions{})
		return done(w.counts(t) != before), fmt.Sprint(err)
	})
}

// remove takes the webhook away from the apiserver.
func (w *webhook) remove(t *testing.T) {
	t.Helper()
	w.p.kubectl(t, "", "delete", "validatingwebhookconfiguration", webhookName)
	w.awaitCalls(t, func(asked bool) bool { return !asked })
	w.stop()
}

func (w *webhook) stop() {
	w.cmd.Process.Kill()
	_ = w.cmd.Wait()
}

// fail has it answer HTTP 500 as the query says.
func (w *webhook) fail(t *testing.T, query string) { w.ask(t, http.MethodPost, "/fail?"+query) }

// counts tells how often it was asked, in its own words.
func (w *webhook) counts(t *testing.T) string { return w.ask(t, http.MethodGet, "/counts") }

func (w *webhook) ask(t *testing.T, method, path string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, w.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Its certificate is for the apiserver to check.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %v, %s", method, path, err, response.Status)
	}
	return string(body)
}
