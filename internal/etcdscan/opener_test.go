package etcdscan_test

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/etcdscan/stored"
)

// xor "opens" values whose ciphertext is the plaintext with one bit flipped, so that what a scan does with payloads can be seen.
type xor struct {
	opened atomic.Int64
	given  [][]byte // payloads handed out, when the test is for one goroutine
	keep   bool
}

func (x *xor) Parse(value []byte) atrest.Value { return atrest.Parse(value) }

func (x *xor) Open(_ context.Context, o key.Object, _ string, _ []byte, v atrest.Value) etcdscan.Opening {
	if v.Encryption.Provider == atrest.Identity {
		return etcdscan.Opening{Tried: true}
	}
	x.opened.Add(1)
	payload := bytes.Map(func(r rune) rune { return r ^ 1 }, v.Payload)
	if x.keep {
		x.given = append(x.given, payload)
	}
	out := etcdscan.Opening{Tried: true, Payload: payload, AtRest: v.Encryption, Authenticated: true}
	out.Header, out.Undecodable = stored.Parse(payload)
	if out.Undecodable != nil {
		return etcdscan.Opening{Tried: true, AtRest: v.Encryption, Obstacle: etcdscan.Damaged}
	}
	return out
}

func locked(keyName, namespace, name string) string {
	plain := fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":%q,"namespace":%q},"data":{"a":"canary-payload"}}`, name, namespace)
	return "k8s:enc:aesgcm:v1:" + keyName + ":" + string(bytes.Map(func(r rune) rune { return r ^ 1 }, []byte(plain)))
}

// payloads is an examiner that notes the payloads it sees, and whether those before were cleared.
type payloads struct {
	keys     []string
	contents int
	slices   [][]byte
}

func (p *payloads) Begin() { *p = payloads{} }
func (p *payloads) Take(r *etcdscan.Record, _ *etcdscan.Entry) error {
	p.keys = append(p.keys, r.Key)
	return nil
}

func (p *payloads) Examine(_ *etcdscan.Record, payload []byte) error {
	if bytes.Contains(payload, []byte("canary-payload")) {
		p.contents++
	}
	p.slices = append(p.slices, payload)
	return nil
}

func TestScanOpens(t *testing.T) {
	server := etcdtest.Start(t)
	const n = 1000
	for i := range n {
		name := fmt.Sprintf("s-%04d", i)
		server.Put(t, "/registry/secrets/ns/"+name, locked("key1", "ns", name))
	}
	server.Put(t, "/registry/secrets/ns/z-moved", locked("key1", "ns", "another"))
	server.Put(t, "/registry/secrets/ns/z-broken", "k8s:enc:aesgcm:v1:key1:"+string(bytes.Repeat([]byte{'x'}, 80)))
	reading := etcdscan.Reading{Source: openStore(t, server), Scope: etcdscan.NewScope([]string{"/registry"}, []string{"/registry"})}

	t.Run("in order, many at once", func(t *testing.T) {
		opener, sink := new(xor), new(payloads)
		reading.Opener = opener
		res, err := etcdscan.Scan(t.Context(), reading, sink)
		if err != nil || res.Shortfall != nil {
			t.Fatal(err, res.Shortfall)
		}
		counts := make(map[string]int64)
		for _, e := range res.Tally.Entries() {
			counts[fmt.Sprintf("%s %q %t %s", e.Opened, e.Fault, e.Authenticated, e.Stored.Kind)] += e.Objects
		}
		if counts[`verified "" true Secret`] != n || counts[`failed "WrongPlace" true Secret`] != 1 || counts[`failed "CannotOpen" false `] != 1 {
			t.Errorf("%v", counts)
		}
		if opener.opened.Load() != n+2 || len(sink.keys) != n+2 || sink.contents != n+1 {
			t.Errorf("%d opened, %d taken, %d examined", opener.opened.Load(), len(sink.keys), sink.contents)
		}
		for i := 1; i < len(sink.keys); i++ {
			if sink.keys[i-1] >= sink.keys[i] {
				t.Fatalf("%s came before %s", sink.keys[i-1], sink.keys[i])
			}
		}
		for _, payload := range sink.slices {
			if len(bytes.Trim(payload, "\x00")) > 0 {
				t.Fatal("a payload outlived its examination")
			}
		}
	})
	t.Run("payloads that nobody examines are cleared at once", func(t *testing.T) {
		opener := &xor{keep: true}
		few := reading
		few.Opener, few.Scope = opener, etcdscan.NewScope([]string{"/registry/secrets/ns/s-0001"}, []string{"/registry"})
		if _, err := etcdscan.Scan(t.Context(), few, new(keep)); err != nil {
			t.Fatal(err)
		}
		for _, payload := range opener.given {
			if len(bytes.Trim(payload, "\x00")) > 0 {
				t.Error("a payload outlived its header")
			}
		}
		if len(opener.given) != 1 {
			t.Errorf("%d payloads", len(opener.given))
		}
	})
	t.Run("a sample", func(t *testing.T) {
		opener := new(xor)
		some := reading
		some.Opener, some.Sample = opener, true
		res, err := etcdscan.Scan(t.Context(), some, new(keep))
		if err != nil {
			t.Fatal(err)
		}
		if got := opener.opened.Load(); got < 16 || got > 40 {
			t.Errorf("%d of %d values were opened", got, n)
		}
		var untried int64
		for _, e := range res.Tally.Entries() {
			if e.Opened == etcdscan.NotTried {
				untried += e.Objects
			}
		}
		if untried != n+2-opener.opened.Load() {
			t.Errorf("%d are said not to have been tried", untried)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		stop := reading
		stop.Opener = cancelling{new(xor), cancel}
		if _, err := etcdscan.Scan(ctx, stop, new(keep)); err == nil {
			t.Error("an interrupted scan counts as one")
		}
	})
}

type cancelling struct {
	*xor
	cancel context.CancelFunc
}

func (c cancelling) Open(ctx context.Context, o key.Object, k string, value []byte, v atrest.Value) etcdscan.Opening {
	c.cancel()
	return c.xor.Open(ctx, o, k, value, v)
}
