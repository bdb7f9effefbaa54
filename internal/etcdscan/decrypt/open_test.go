package decrypt_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/testdata/vectors"
)

var local = []string{"aescbc", "aesgcm", "secretbox"}

// TestOpensWhatTheAPIServerWrites has the apiserver's loader and transformers write, and opens that.
func TestOpensWhatTheAPIServerWrites(t *testing.T) {
	for _, provider := range local {
		t.Run(provider, func(t *testing.T) {
			path := file(t, entry("secrets", provider+":key1=one", "identity"))
			k, payload := secret("db")
			stored := newAPIServer(t, path).write(t, "secrets", k, payload)
			r := load(t, path)
			o := open(t, r, k, stored)
			if !o.Tried || o.Obstacle != "" || string(o.Payload) != payload || o.Authenticated != (provider != "aescbc") {
				t.Errorf("%+v", o)
			}
			e := inspect(t, r, k, stored)
			if e.Opened != etcdscan.Verified || e.Stored.Kind != "Secret" || e.Fault != "" || verify.Describe(e.AtRest) != provider+":key1" || e.AtRest.KeyInferred {
				t.Errorf("%+v", e)
			}
			if e := inspect(t, nil, k, stored); e.Opened != etcdscan.NotTried || e.Stored.Kind != "" {
				t.Errorf("without the file: %+v", e)
			}
		})
	}
}

// TestVectors opens every vector whose key is given.
func TestVectors(t *testing.T) {
	opened := 0
	for _, c := range vectors.Load(t) {
		if c.Headers["secret"] == "" {
			continue
		}
		opened++
		name := c.Headers["expect-key-name"]
		text := fmt.Sprintf("- resources: ['*.*']\n  providers:\n  - %s: {keys: [{name: %q, secret: %q}]}\n", c.Headers["expect-provider"], name, c.Headers["secret"])
		r := load(t, file(t, text))
		o := open(t, r, c.Headers["key"], c.Value)
		got := "error: none"
		if o.Payload == nil {
			got = string(o.Obstacle)
		} else if o.Undecodable != nil {
			got = "error: " + o.Undecodable.Error()
		} else {
			got = strings.Join([]string{o.Header.APIVersion, o.Header.Kind, string(o.Header.Encoding)}, " ")
		}
		if got != c.Headers["expect-inside"] {
			t.Errorf("%s: %s, want %s", c.File, got, c.Headers["expect-inside"])
		}
	}
	if opened < 5 {
		t.Errorf("%d vectors opened", opened)
	}
}

// TestOtherMaterial has many values under the same name and another key. A wrong key passes the padding of aescbc in one of 256.
func TestOtherMaterial(t *testing.T) {
	for _, provider := range local {
		t.Run(provider, func(t *testing.T) {
			ours, theirs := file(t, entry("secrets", provider+":key1=one")), file(t, entry("secrets", provider+":key1=two"))
			server, r := newAPIServer(t, theirs), load(t, ours)
			wrong := make(map[etcdscan.Obstacle]int)
			for i := range 3000 {
				k, payload := secret(fmt.Sprintf("app-%04d", i))
				stored := server.write(t, "secrets", k, payload)
				e := inspect(t, r, k, stored)
				if e.Fault != etcdscan.CannotOpen || e.Opened != etcdscan.Failed || e.Stored.Kind != "" {
					t.Fatalf("%s: %+v", k, e)
				}
				wrong[e.Obstacle]++
			}
			if wrong[etcdscan.OtherMaterial] < 2990 {
				t.Errorf("%v", wrong)
			}
		})
	}
}

// TestCopiedValue lies under another secret's key.
func TestCopiedValue(t *testing.T) {
	for provider, want := range map[string]struct {
		fault    etcdscan.Fault
		obstacle etcdscan.Obstacle
	}{
		"aesgcm": {etcdscan.CannotOpen, etcdscan.Moved}, "aescbc": {etcdscan.WrongPlace, ""}, "secretbox": {etcdscan.WrongPlace, ""},
	} {
		path := file(t, entry("secrets", provider+":key1=one"))
		from, payload := secret("db")
		to, _ := secret("web")
		stored := newAPIServer(t, path).write(t, "secrets", from, payload)
		if e := inspect(t, load(t, path), to, stored); e.Fault != want.fault || e.Obstacle != want.obstacle || e.Opened != etcdscan.Failed {
			t.Errorf("%s: %+v", provider, e)
		}
	}
}

// TestWhichKeyIsMeant has names with colons, names that continue others, and names that stand twice. The apiserver is asked
// whether it could read each value.
func TestWhichKeyIsMeant(t *testing.T) {
	const k3s = "aescbckey-2022-04-21T23:01:02-07:00"
	for _, c := range []struct {
		name          string
		written, file string // what wrote it, what is at hand
		want          string
		obstacle      etcdscan.Obstacle
		twin          int
	}{
		{"a colon in the name", entry("secrets", "aescbc:"+k3s+"=one"), entry("secrets", "aescbc:new=two", "aescbc:"+k3s+"=one"), "aescbc:" + k3s, "", 0},
		{"the longer of two names", entry("secrets", "aesgcm:a:b=one"), entry("secrets", "aesgcm:a=two", "aesgcm:a:b=one"), "aesgcm:a:b", "", 0},
		{"the shorter of two names", entry("secrets", "aesgcm:a=two"), entry("secrets", "aesgcm:a:b=one", "aesgcm:a=two"), "aesgcm:a", "", 0},
		{"a name that continues one at hand", entry("secrets", "aesgcm:a:b=one"), entry("secrets", "aesgcm:a=two"), "aesgcm:a", etcdscan.OtherMaterial, 0},
		{"two providers with one name", entry("secrets", "secretbox:key1=one"), entry("secrets", "aescbc:key1=two", "secretbox:key1=one"), "secretbox:key1", "", 0},
		{"one name twice", entry("secrets", "aescbc:key1=one"), entry("secrets", "aescbc:key1=two", "aescbc:key1=one"), "aescbc:key1", "", 1},
		{"the first of that name", entry("secrets", "aescbc:key1=one"), entry("secrets", "aescbc:key1=one", "aescbc:key1=two"), "aescbc:key1", "", 0},
		{"another name", entry("secrets", "aescbc:key1=one"), entry("secrets", "aescbc:key2=one"), "aescbc:key1", etcdscan.NoSuchKey, 0},
		{"another provider", entry("secrets", "aescbc:key1=one"), entry("secrets", "aesgcm:key1=one"), "aescbc:key1", etcdscan.NoSuchKey, 0},
		{"another resource's key", entry("secrets", "aesgcm:key1=one"), entry("secrets", "aesgcm:key2=two") + entry("configmaps", "aesgcm:key1=one"), "aesgcm:key1", etcdscan.OtherResource, 0},
		{"another resource's key of that name", entry("secrets", "aesgcm:key1=one"), entry("secrets", "aesgcm:key1=two") + entry("configmaps", "aesgcm:key1=one"), "aesgcm:key1", etcdscan.OtherResource, 1},
		{"a resource that is not covered", entry("secrets", "aesgcm:key1=one"), entry("configmaps", "aesgcm:key1=one"), "aesgcm:key1", etcdscan.OtherResource, 0},
		{"plaintext", "", entry("secrets", "aesgcm:key1=one", "identity"), "identity", "", 0},
		{"plaintext without identity", "", entry("secrets", "aesgcm:key1=one"), "identity", etcdscan.NoIdentity, 0},
		{"plaintext of no concern", "", entry("configmaps", "aesgcm:key1=one"), "identity", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, payload := secret("db")
			path := file(t, c.file)
			r, reader := load(t, path), newAPIServer(t, path)
			for range 50 { // ciphertext is random
				stored := []byte(payload)
				if c.written != "" {
					stored = newAPIServer(t, file(t, c.written)).write(t, "secrets", k, payload)
				}
				e := inspect(t, r, k, stored)
				named := e.Obstacle != etcdscan.NoSuchKey // by the file
				if got := verify.Describe(e.AtRest); got != c.want || e.Obstacle != c.obstacle || e.Twin != c.twin || named && (e.AtRest.KeyInferred || e.Ambiguous) {
					t.Fatalf("%s %q, twin %d, inferred %t, ambiguous %t", got, e.Obstacle, e.Twin, e.AtRest.KeyInferred, e.Ambiguous)
				}
				if reads := reader.reads(t, "secrets", k, stored); reads != (e.Obstacle == "") {
					if provider, _, _ := strings.Cut(c.want, ":"); provider != "aescbc" { // whose padding a wrong key may pass
						t.Fatalf("the apiserver reads it: %t, and the obstacle is %q", reads, e.Obstacle)
					}
				}
			}
		})
	}
}

// TestUnnamedKey leaves the end of a name to the census where the file does not name it.
func TestUnnamedKey(t *testing.T) {
	k, payload := secret("db")
	stored := newAPIServer(t, file(t, entry("secrets", "aesgcm:key1=one"))).write(t, "secrets", k, payload)
	r := load(t, file(t, entry("secrets", "aesgcm:key2=two")))
	if v, plain := r.Parse(stored), atrest.Parse(stored); v.Encryption != plain.Encryption || !slices.Equal(v.Ends, plain.Ends) {
		t.Errorf("%+v, want %+v", v, plain)
	}
}

// TestLengthSettlesTheName has ciphertext that cannot belong to the name at hand.
func TestLengthSettlesTheName(t *testing.T) {
	k, payload := secret("db")
	stored := newAPIServer(t, file(t, entry("secrets", "aescbc:a:b=one"))).write(t, "secrets", k, payload)
	e := inspect(t, load(t, file(t, entry("secrets", "aescbc:a=two"))), k, stored)
	if verify.Describe(e.AtRest) != "aescbc:a:b" || e.Obstacle != etcdscan.NoSuchKey {
		t.Errorf("%+v", e)
	}
}

// TestNothingButAnInitializationVector has the values that the apiserver's AES-CBC panics over, under the shorter of two names.
func TestNothingButAnInitializationVector(t *testing.T) {
	r := load(t, file(t, entry("secrets", "aescbc:a=one", "aescbc:a:bcdefghijklmnop=two")))
	k, _ := secret("db")
	for length := range 40 {
		for _, name := range []string{"a:", "a:bcdefghijklmnop:"} {
			if e := inspect(t, r, k, []byte("k8s:enc:aescbc:v1:"+name+strings.Repeat("x", length))); e.Fault == etcdscan.NoFault {
				t.Errorf("%d bytes under %s: %+v", length, name, e)
			}
		}
	}
}

// TestInterruption has a context that has ended: a key in memory needs no time.
func TestInterruption(t *testing.T) {
	path := file(t, entry("secrets", "aescbc:key1=one"))
	r := load(t, path)
	k, payload := secret("db")
	stored := newAPIServer(t, path).write(t, "secrets", k, payload)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e := etcdscan.Inspect(ctx, "/registry", &etcdscan.KeyValue{Key: k, Value: stored}, r)
	if e.Opened != etcdscan.Verified {
		t.Errorf("%+v", e)
	}
}
