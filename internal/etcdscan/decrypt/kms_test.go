package decrypt_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/features"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	featuregatetesting "k8s.io/component-base/featuregate/testing"

	pluginv1 "k8s.io/apiserver/pkg/storage/value/encrypt/envelope/testing/v1beta1"
	pluginv2 "k8s.io/apiserver/pkg/storage/value/encrypt/envelope/testing/v2"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/testdata/vectors"
)

// socket is a path that a unix socket may have.
func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kms")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func TestKMSv2(t *testing.T) {
	s := socket(t)
	plugin := pluginv2.NewBase64Plugin(t, s)
	path := file(t, entry("secrets", "kms-v2:vault=unix://"+s, "identity"))
	k, payload := secret("db")
	stored := newAPIServer(t, path).write(t, "secrets", k, payload)
	r := load(t, path)

	if state := r.Current(t.Context())["vault"]; state.Err != nil || state.KeyID != "1" {
		t.Errorf("%+v", state)
	}
	e := inspect(t, r, k, stored)
	if e.Opened != etcdscan.Verified || !e.Authenticated || e.Stored.Kind != "Secret" || e.AtRest.KeyID != "1" {
		t.Errorf("%+v", e)
	}
	t.Run("copied", func(t *testing.T) {
		to, _ := secret("web")
		if e := inspect(t, r, to, stored); e.Obstacle != etcdscan.Moved {
			t.Errorf("%+v", e)
		}
	})
	t.Run("another key ID", func(t *testing.T) {
		plugin.UpdateKeyID()
		if state := r.Current(t.Context())["vault"]; state.KeyID != "2" {
			t.Errorf("%+v", state)
		}
		later := newAPIServer(t, path).write(t, "secrets", k, payload)
		if e := inspect(t, r, k, later); e.AtRest.KeyID != "2" || e.Opened != etcdscan.Verified {
			t.Errorf("%+v", e)
		}
	})
	t.Run("the plugin fails", func(t *testing.T) {
		plugin.EnterFailedState()
		defer plugin.ExitFailedState()
		fresh := load(t, path)
		if e := inspect(t, fresh, k, stored); e.Fault != etcdscan.CannotOpen || !e.Obstacle.Unknown() {
			t.Errorf("%+v", e)
		}
		if state := fresh.Current(t.Context())["vault"]; state.Err == nil {
			t.Errorf("%+v", state)
		}
		if e := inspect(t, r, k, stored); e.Opened != etcdscan.Verified {
			t.Errorf("a data key that is known needs no plugin: %+v", e)
		}
	})
	t.Run("the plugin is gone", func(t *testing.T) {
		plugin.CleanUp()
		fresh := load(t, path)
		started := time.Now()
		for i := range 200 {
			k, _ := secret(fmt.Sprint(i))
			if e := inspect(t, fresh, k, stored); e.Obstacle != etcdscan.PluginSilent {
				t.Fatalf("%+v", e)
			}
		}
		if took := time.Since(started); took > 4*time.Second {
			t.Errorf("it was asked again and again: %s", took)
		}
	})
}

// TestKMSv2Recorded opens values that old releases of Kubernetes wrote.
func TestKMSv2Recorded(t *testing.T) {
	s := socket(t)
	_ = pluginv2.NewBase64Plugin(t, s)
	r := load(t, file(t, entry("secrets", "kms-v2:kms-provider=unix://"+s)))
	found := 0
	for _, c := range vectors.Load(t) {
		if !strings.HasPrefix(c.File, "kms-v2-recorded-") {
			continue
		}
		found++
		e := etcdscan.Inspect(t.Context(), c.Headers["root"], &etcdscan.KeyValue{Key: c.Headers["key"], Value: c.Value}, r)
		if e.Opened != etcdscan.Verified || !e.Authenticated || e.Stored.Kind != "Secret" || e.AtRest.KeyID != "1" {
			t.Errorf("%s: %+v", c.File, e)
		}
	}
	if found != 2 {
		t.Errorf("%d values", found)
	}
}

func TestKMSv1(t *testing.T) {
	featuregatetesting.SetFeatureGateDuringTest(t, utilfeature.DefaultFeatureGate, features.KMSv1, true)
	s := socket(t)
	plugin := pluginv1.NewBase64Plugin(t, s)
	path := file(t, entry("secrets", "kms-v1:vault=unix://"+s))
	server, r := newAPIServer(t, path), load(t, path)
	k, payload := secret("db")
	stored := server.write(t, "secrets", k, payload)
	e := inspect(t, r, k, stored)
	if e.Opened != etcdscan.Verified || !e.Authenticated || e.AtRest.Version != "v1" || e.AtRest.Key != "vault" {
		t.Errorf("%+v", e)
	}
	to, _ := secret("web")
	if e := inspect(t, r, to, stored); e.Obstacle != etcdscan.Moved {
		t.Errorf("%+v", e)
	}
	plugin.EnterFailedState()
	if e := inspect(t, load(t, path), k, stored); e.Fault != etcdscan.CannotOpen || !e.Obstacle.Unknown() {
		t.Errorf("%+v", e)
	}
}

// TestOneCallForEachDataKey has many values under one data key opened by many at once.
func TestOneCallForEachDataKey(t *testing.T) {
	featuregatetesting.SetFeatureGateDuringTest(t, utilfeature.DefaultFeatureGate, features.KMSv1, true)
	two, one := socket(t), socket(t)
	_ = pluginv2.NewBase64Plugin(t, two)
	_ = pluginv1.NewBase64Plugin(t, one)
	path := file(t, entry("secrets", "kms-v2:vault=unix://"+two), entry("configmaps", "kms-v1:older=unix://"+one))
	server := newAPIServer(t, path)
	src := make(source)
	for i := range 100 {
		k, payload := secret(fmt.Sprintf("app-%03d", i))
		src[k] = server.write(t, "secrets", k, payload)
		if i < 7 {
			k = strings.Replace(k, "secrets", "configmaps", 1)
			src[k] = server.write(t, "configmaps", k, strings.Replace(payload, "Secret", "ConfigMap", 1))
		}
	}
	reading := etcdscan.Reading{Source: src, Scope: etcdscan.NewScope([]string{"/registry"}, []string{"/registry"})}

	r := load(t, path)
	calls, err := r.Calls(t.Context(), reading)
	if err != nil || calls["vault"] != 1 || calls["older"] != 7 {
		t.Fatalf("%v %v", calls, err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for k, stored := range src {
				v := r.Parse(stored)
				if o := r.Open(t.Context(), key.Parse("/registry", k), k, stored, v); o.Obstacle != "" || o.Payload == nil {
					t.Errorf("%s: %q", k, o.Obstacle)
				}
			}
		})
	}
	wg.Wait()
	if calls, err := r.Calls(t.Context(), reading); err != nil || calls["vault"] != 0 || calls["older"] != 0 {
		t.Errorf("%v %v: every data key is known", calls, err)
	}

	bounded := load(t, path)
	bounded.Limit(3)
	if calls, err := bounded.Calls(t.Context(), reading); err != nil || calls["older"] != 3 || calls["vault"] != 1 {
		t.Errorf("%v %v", calls, err)
	}
	reading.Opener = bounded
	result, err := etcdscan.Scan(t.Context(), reading, nothing{})
	if err != nil || result.Shortfall != nil {
		t.Fatal(err, result.Shortfall)
	}
	opened := make(map[string]int64)
	for _, e := range result.Tally.Entries() {
		if e.AtRest.Provider == atrest.KMS {
			opened[e.Resource+" "+string(e.Opened)] += e.Objects
		}
	}
	if opened["secrets verified"] != 100 || opened["configmaps verified"] != 3 || opened["configmaps notTried"] != 4 {
		t.Errorf("%v", opened)
	}
}

type nothing struct{}

func (nothing) Begin()                                       {}
func (nothing) Take(*etcdscan.Record, *etcdscan.Entry) error { return nil }
