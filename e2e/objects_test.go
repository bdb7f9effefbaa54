package e2e

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const secretsDir = "/registry/secrets/"

// namespace makes a namespace.
func (p *plane) namespace(t *testing.T, name string) {
	t.Helper()
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := p.kube.CoreV1().Namespaces().Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// secret has canaries in its data and annotations, and content that no other has.
func secret(namespace, name, content string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: map[string]string{
			"example.com/note":                 canaryInAnnotation + " of " + name,
			corev1.LastAppliedConfigAnnotation: fmt.Sprintf(`{"stringData":{"password":%q}}`, canaryInAnnotation),
		}},
		Data: map[string][]byte{
			"password": []byte(canaryInData + " of " + name),
			"content":  []byte(content),
			"filling":  bytes.Repeat([]byte(canaryInData), 40),
		},
	}
}

// createSecrets makes count secrets named prefix-00000 and so on, several at a time.
func (p *plane) createSecrets(t *testing.T, namespace, prefix string, count int) {
	t.Helper()
	inParallel(t, 16, count, func(ctx context.Context, i int) error {
		name := fmt.Sprintf("%s-%05d", prefix, i)
		_, err := p.kube.CoreV1().Secrets(namespace).Create(ctx, secret(namespace, name, "first content of "+name), metav1.CreateOptions{})
		return err
	})
}

// inParallel calls f for 0 to count-1 and fails the test with the first error.
func inParallel(t *testing.T, workers, count int, f func(ctx context.Context, i int) error) {
	t.Helper()
	numbers := make(chan int)
	errs := make(chan error, workers)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			var failed error
			for i := range numbers {
				if failed == nil {
					failed = f(t.Context(), i)
				}
			}
			errs <- failed
		})
	}
	for i := range count {
		numbers <- i
	}
	close(numbers)
	wg.Wait()
	for range workers {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}

// secrets are all secrets as the apiserver gives them, by namespace/name.
func (p *plane) secrets(t *testing.T) map[string]*corev1.Secret {
	t.Helper()
	list, err := p.kube.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]*corev1.Secret, len(list.Items))
	for i := range list.Items {
		s := &list.Items[i]
		all[s.Namespace+"/"+s.Name] = s
	}
	return all
}

// wantSameSecrets compares everything but the resourceVersion, which each rewrite moves. managedFields are compared
// too: a rewrite must not claim a field.
func wantSameSecrets(t *testing.T, before, after map[string]*corev1.Secret) {
	t.Helper()
	if len(before) != len(after) {
		t.Errorf("%d secrets before, %d after", len(before), len(after))
	}
	for name, was := range before {
		is, found := after[name]
		if !found {
			t.Errorf("%s is gone", name)
			continue
		}
		was, is = was.DeepCopy(), is.DeepCopy()
		was.ResourceVersion, is.ResourceVersion = "", ""
		if !equality.Semantic.DeepEqual(was, is) {
			t.Errorf("%s has changed:\nwas %v\nis  %v", name, was, is)
		}
	}
}

// stored is what etcd itself holds of the secrets: key to mod_revision and to the transformer prefix with its key name,
// as "aescbc:key1" or "identity".
func (p *plane) stored(t *testing.T) (revisions map[string]int64, under map[string]string) {
	t.Helper()
	response, err := p.etcd.Get(t.Context(), secretsDir, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	revisions, under = make(map[string]int64), make(map[string]string)
	for _, kv := range response.Kvs {
		revisions[string(kv.Key)] = kv.ModRevision
		under[string(kv.Key)] = encryptedAs(kv.Value)
	}
	return revisions, under
}

// encryptedAs knows the key names of these tests, which have no colon.
func encryptedAs(value []byte) string {
	rest, encrypted := strings.CutPrefix(string(value[:min(len(value), 100)]), "k8s:enc:")
	if !encrypted {
		return "identity"
	}
	parts := strings.SplitN(rest, ":", 4)
	return parts[0] + ":" + parts[2]
}

// wantAllUnder checks in etcd, apart from svmctl, that every secret is encrypted as it should be.
func (p *plane) wantAllUnder(t *testing.T, want string) {
	t.Helper()
	_, under := p.stored(t)
	for key, is := range under {
		if is != want {
			t.Errorf("%s is under %s, want %s", key, is, want)
		}
	}
}

// awaitWrites waits until secrets were written so many times after the revision.
func (p *plane) awaitWrites(t *testing.T, after int64, count int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	seen := 0
	for response := range p.etcd.Watch(clientv3.WithRequireLeader(ctx), secretsDir, clientv3.WithPrefix(), clientv3.WithRev(after+1)) {
		if err := response.Err(); err != nil {
			t.Fatal(err)
		}
		if seen += len(response.Events); seen >= count {
			return
		}
	}
	t.Fatalf("secrets were written %d times within %s, want %d", seen, runLimit, count)
}

// revision is etcd's newest.
func (p *plane) revision(t *testing.T) int64 {
	t.Helper()
	response, err := p.etcd.Get(t.Context(), secretsDir, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return response.Header.Revision
}

// secretsRevision is that of the newest write to any secret that is there.
func (p *plane) secretsRevision(t *testing.T) int64 {
	t.Helper()
	revisions, _ := p.stored(t)
	var newest int64
	for _, revision := range revisions {
		newest = max(newest, revision)
	}
	return newest
}
