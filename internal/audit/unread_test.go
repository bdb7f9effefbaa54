package audit_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/verify"
)

// faulty reads a real store and spoils each batch of values. No server does on demand what it does.
type faulty struct {
	etcdscan.Source
	spoil func(call int, batch []etcdscan.KeyValue) ([]etcdscan.KeyValue, error)
	reads int
}

func (f *faulty) Read(ctx context.Context, r etcdscan.Range, revision int64) iter.Seq2[[]etcdscan.KeyValue, error] {
	if r == etcdscan.Key(r.Start) {
		return f.Source.Read(ctx, r, revision) // a look at one key, no scan
	}
	f.reads++
	call := f.reads
	return func(yield func([]etcdscan.KeyValue, error) bool) {
		for batch, err := range f.Source.Read(ctx, r, revision) {
			if err == nil {
				batch, err = f.spoil(call, batch)
			}
			if len(batch) > 0 && !yield(batch, nil) {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

func twoSecrets() map[string]string {
	return map[string]string{
		"/registry/secrets/ns/a": aescbc("key2"),
		"/registry/secrets/ns/b": aescbc("key1"),
		"/registry/secrets/ns/c": aescbc("key2"),
	}
}

func TestWhatWasNotReadIsNeverClean(t *testing.T) {
	store := open(t, startWith(t, twoSecrets()))
	for name, spoil := range map[string]func(int, []etcdscan.KeyValue) ([]etcdscan.KeyValue, error){
		"the stale one is lost": func(_ int, b []etcdscan.KeyValue) ([]etcdscan.KeyValue, error) { return append(b[:1:1], b[2]), nil },
		"the store fails under way": func(_ int, b []etcdscan.KeyValue) ([]etcdscan.KeyValue, error) {
			return b[:1], errors.New("lost the member")
		},
		"compacted again and again": func(_ int, b []etcdscan.KeyValue) ([]etcdscan.KeyValue, error) { return b[:1], etcdscan.ErrCompacted },
		"one comes twice": func(_ int, b []etcdscan.KeyValue) ([]etcdscan.KeyValue, error) {
			return append(b[:1:1], b[0], b[2]), nil
		},
		"nothing comes":              func(int, []etcdscan.KeyValue) ([]etcdscan.KeyValue, error) { return nil, nil },
		"nothing comes but an error": func(int, []etcdscan.KeyValue) ([]etcdscan.KeyValue, error) { return nil, errors.New("lost") },
		"one of a sibling comes": func(_ int, b []etcdscan.KeyValue) ([]etcdscan.KeyValue, error) {
			return append(b[:1:1], etcdscan.KeyValue{Key: "/registry0/x", Value: b[0].Value}, b[2]), nil
		},
		"one was written after the revision": func(_ int, b []etcdscan.KeyValue) ([]etcdscan.KeyValue, error) {
			late := slices.Clone(b)
			late[1].ModRevision = 1000
			return late, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			report := run(t, request(t, &faulty{Source: store, spoil: spoil}, "secrets=aescbc:key2"))
			if report.Verdict != verify.Indeterminate || report.Scope.Whole {
				t.Errorf("%v, whole %v", report.Verdict, report.Scope.Whole)
			}
			all := findings(t, report)
			if !slices.ContainsFunc(all, func(f audit.Finding) bool { return f.Code == verify.NotRead && f.Message != "" }) {
				t.Errorf("%+v", all)
			}
		})
	}
	t.Run("nothing is expected", func(t *testing.T) {
		spoil := func(int, []etcdscan.KeyValue) ([]etcdscan.KeyValue, error) { return nil, errors.New("lost") }
		if report := run(t, request(t, &faulty{Source: store, spoil: spoil})); report.Verdict != verify.Indeterminate {
			t.Error(report.Verdict)
		}
	})
	t.Run("what was read is stale", func(t *testing.T) {
		spoil := func(_ int, b []etcdscan.KeyValue) ([]etcdscan.KeyValue, error) { return b[:2], nil }
		report := run(t, request(t, &faulty{Source: store, spoil: spoil}, "secrets=aescbc:key2"))
		if report.Verdict != verify.Incomplete || report.Totals.Keys != 2 {
			t.Errorf("%v of %d keys", report.Verdict, report.Totals.Keys)
		}
		expectFindings(t, report, "NotRead ", "StaleKey /registry/secrets/ns/b")
	})
}

// A scan that begins again forgets what it had found.
func TestAScanThatBeginsAgainFindsEverythingOnce(t *testing.T) {
	store := open(t, startWith(t, twoSecrets()))
	sink := new(listKeys)
	req := request(t, &faulty{Source: store, spoil: func(call int, b []etcdscan.KeyValue) ([]etcdscan.KeyValue, error) {
		if call < 3 {
			return b[:2], etcdscan.ErrCompacted
		}
		return b, nil
	}}, "secrets=aescbc:key2")
	req.Also = sink
	report := run(t, req)
	if report.Verdict != verify.Incomplete || report.Totals.Keys != 3 || !report.Scope.Whole || sink.begun != 3 || len(sink.keys) != 3 {
		t.Errorf("%v of %d keys, begun %d times, %d records", report.Verdict, report.Totals.Keys, sink.begun, len(sink.keys))
	}
	expectFindings(t, report, "StaleKey /registry/secrets/ns/b")
}

func TestInterruptedAuditIsAnError(t *testing.T) {
	store := open(t, startWith(t, twoSecrets()))
	ctx, cancel := context.WithCancel(t.Context())
	req := request(t, &faulty{Source: store, spoil: func(_ int, b []etcdscan.KeyValue) ([]etcdscan.KeyValue, error) {
		cancel()
		return b[:1], ctx.Err()
	}}, "secrets=aescbc:key2")
	if report, err := audit.Run(ctx, req); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", report, err)
	}
}

// kine is a store that was recognised as one whose answers carry no proof.
type kine struct{ etcdscan.Source }

func (kine) Pin(context.Context, etcdscan.Range, int64) (etcdscan.Pin, error) {
	return etcdscan.Pin{}, etcdscan.ErrUnsupportedStore
}

func TestUnsupportedStoreIsIndeterminate(t *testing.T) {
	store := open(t, startWith(t, twoSecrets()))
	for _, expect := range [][]string{nil, {"secrets=aescbc:key2"}, {"secrets=encrypted"}} {
		req := request(t, kine{store}, expect...)
		req.ConfirmEmpty = func(context.Context, verify.Resource) bool { return true }
		report := run(t, req)
		if report.Verdict != verify.Indeterminate || report.Scope.Whole || report.Totals.Keys != 0 || report.Unsupported == nil {
			t.Errorf("%v: %v, %+v", expect, report.Verdict, report.Scope)
		}
	}
}
