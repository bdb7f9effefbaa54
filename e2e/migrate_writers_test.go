package e2e

import (
	"context"
	cryptorand "crypto/rand"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestMigrateWhileOthersWrite: nothing that anybody writes meanwhile is lost, and the end is Complete.
func TestMigrateWhileOthersWrite(t *testing.T) {
	p := startPlane(t, encryption("aescbc:key1", "identity"), "--without-controller-manager")
	for _, namespace := range []string{"a-early", "m-writers", "z-late"} {
		p.namespace(t, namespace)
	}
	p.createSecrets(t, "a-early", "app", 200)
	p.createSecrets(t, "z-late", "app", 1500)
	writers := make([]*writer, 6)
	for i := range writers {
		writers[i] = &writer{p: p, name: fmt.Sprintf("writer-%d", i), content: make(map[string]string), polite: i%2 == 0}
		for n := range 60 {
			writers[i].create(t.Context(), t, fmt.Sprintf("%s-%02d", writers[i].name, n))
		}
	}
	p.rotate(t, encryption("aescbc:key2", "aescbc:key1", "identity"))

	before := p.secrets(t)
	maps.DeleteFunc(before, ofWriters)
	begin := p.revision(t)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, w := range writers {
		wg.Go(func() { w.write(ctx, t) })
	}
	// An apiserver that lags puts values under the old key back. What it does to these ten while svmctl is far from done
	// has to be found and mended in another round.
	wg.Go(func() { p.putBack(ctx, t, secretsDir+"a-early/", begin, 10) })
	result := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes", "-o", "json")
	stop()
	wg.Wait()

	result.wantCode(t, 0)
	report := result.migration(t)
	t.Logf("%+v in %d rounds", report.Outcomes, report.Rounds)
	if verdict(report.Verdict) != "Complete" || report.Outcomes.Failed+report.Outcomes.NotRewritten != 0 {
		t.Errorf("verdict %s with %+v", verdict(report.Verdict), report.Outcomes)
	}
	if report.Rounds < 2 || report.Outcomes.Rewritten < 1700+10 {
		t.Errorf("%d rewritten in %d rounds, want the ten that turned stale again among them", report.Outcomes.Rewritten, report.Rounds)
	}
	p.wantAllUnder(t, "aescbc:key2")

	written := 0
	stored := p.secrets(t)
	for _, w := range writers {
		written += w.writes
		w.compare(t, stored)
	}
	maps.DeleteFunc(stored, ofWriters)
	wantSameSecrets(t, before, stored)
	t.Logf("the writers had %d writes acknowledged meanwhile", written)
	if written < 100 {
		t.Error("the writers hardly wrote: this has shown nothing")
	}
}

func ofWriters(name string, _ *corev1.Secret) bool { return strings.HasPrefix(name, "m-writers/") }

// writer changes, creates and deletes secrets of its own and remembers what was acknowledged.
type writer struct {
	p       *plane
	name    string
	polite  bool              // sends the resourceVersion it has seen, as controllers do
	content map[string]string // of each secret that is there
	gone    []string
	writes  int
}

func (w *writer) create(ctx context.Context, t *testing.T, name string) {
	content := cryptorand.Text()
	if _, err := w.p.kube.CoreV1().Secrets("m-writers").Create(ctx, secret("m-writers", name, content), metav1.CreateOptions{}); err != nil {
		if ctx.Err() == nil {
			t.Errorf("creating %s: %v", name, err)
		}
		return
	}
	w.content[name] = content
	w.writes++
}

// write goes on until ctx ends. A write under way is brought to its end, so that what was acknowledged is known.
func (w *writer) write(ctx context.Context, t *testing.T) {
	w.writes = 0
	own := context.WithoutCancel(ctx)
	tick := time.NewTicker(5 * time.Millisecond) // leaves the machine to svmctl now and then
	defer tick.Stop()
	for ctx.Err() == nil {
		<-tick.C
		name := w.any()
		switch n := rand.IntN(10); {
		case n == 0 || name == "":
			w.create(own, t, fmt.Sprintf("%s-x%04d", w.name, len(w.content)+len(w.gone)))
		case n == 1:
			w.remove(own, t, name)
		case n == 2 && len(w.gone) > 0: // one that was there before
			again := w.gone[len(w.gone)-1]
			w.gone = w.gone[:len(w.gone)-1]
			w.create(own, t, again)
		case w.polite:
			w.update(own, t, name)
		default:
			w.patch(own, t, name)
		}
	}
}

func (w *writer) any() string {
	for name := range w.content { // in random order
		return name
	}
	return ""
}

func (w *writer) remove(ctx context.Context, t *testing.T, name string) {
	if err := w.p.kube.CoreV1().Secrets("m-writers").Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		t.Errorf("deleting %s: %v", name, err)
		return
	}
	delete(w.content, name)
	w.gone = append(w.gone, name)
	w.writes++
}

// update reads, changes and writes, and begins again when somebody wrote in between.
func (w *writer) update(ctx context.Context, t *testing.T, name string) {
	secrets := w.p.kube.CoreV1().Secrets("m-writers")
	content := cryptorand.Text()
	for {
		object, err := secrets.Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			object.Data["content"] = []byte(content)
			_, err = secrets.Update(ctx, object, metav1.UpdateOptions{})
		}
		if apierrors.IsConflict(err) {
			continue
		}
		if err != nil {
			t.Errorf("updating %s: %v", name, err)
			return
		}
		w.content[name] = content
		w.writes++
		return
	}
}

func (w *writer) patch(ctx context.Context, t *testing.T, name string) {
	content := cryptorand.Text()
	patch := fmt.Appendf(nil, `{"stringData":{"content":%q}}`, content)
	if _, err := w.p.kube.CoreV1().Secrets("m-writers").Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Errorf("patching %s: %v", name, err)
		return
	}
	w.content[name] = content
	w.writes++
}

// compare holds what the writer knows against what is there.
func (w *writer) compare(t *testing.T, stored map[string]*corev1.Secret) {
	t.Helper()
	for name, content := range w.content {
		object, found := stored["m-writers/"+name]
		if !found {
			t.Errorf("%s is gone", name)
		} else if is := string(object.Data["content"]); is != content {
			t.Errorf("%s has the content %s, and %s was acknowledged last", name, is, content)
		}
	}
	for _, name := range w.gone {
		if _, found := stored["m-writers/"+name]; found {
			t.Errorf("%s is back after its deletion", name)
		}
	}
}

// putBack writes the values that the first count secrets under a prefix had back over what they become, once each.
func (p *plane) putBack(ctx context.Context, t *testing.T, prefix string, after int64, count int) {
	seen := make(map[string]bool)
	for response := range p.etcd.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(after+1), clientv3.WithPrevKV()) {
		if err := response.Err(); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
		for _, event := range response.Events {
			key := string(event.Kv.Key)
			if seen[key] || event.PrevKv == nil {
				continue
			}
			seen[key] = true
			unchanged := clientv3.Compare(clientv3.ModRevision(key), "=", event.Kv.ModRevision)
			if _, err := p.etcd.Txn(ctx).If(unchanged).Then(clientv3.OpPut(key, string(event.PrevKv.Value))).Commit(); err != nil {
				t.Error(err)
			}
			if len(seen) == count {
				return
			}
		}
	}
}
