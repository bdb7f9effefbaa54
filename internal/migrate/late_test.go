package migrate_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
	"github.com/svmctl/svmctl/internal/etcdscan/live"
	"github.com/svmctl/svmctl/internal/migrate"
	"github.com/svmctl/svmctl/internal/verify"
)

// during is a store in which something happens while late writes are looked out for.
type during struct {
	*live.Store
	do func() error
}

func (d during) Follow(ctx context.Context, ranges []etcdscan.Range, after int64, each func(etcdscan.KeyValue) error) error {
	if err := d.do(); err != nil {
		return err
	}
	return d.Store.Follow(ctx, ranges, after, each)
}

// TestLateWrites has writes of which nothing is left when etcd is read for the last time.
func TestLateWrites(t *testing.T) {
	const v1, v1beta1 = `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a","namespace":"ns"}}`, `{"apiVersion":"v1beta1","kind":"Secret","metadata":{"name":"a","namespace":"ns"}}`
	for _, c := range []struct {
		name            string
		values, version []string
		good, late      string
		broken          error
		verdict         verify.Verdict
		code            verify.Code
		count           int64
	}{
		{name: "under the old key", values: []string{"secrets=aescbc:key2"}, good: under("key2"), late: under("key1"), verdict: verify.Incomplete, code: verify.LateWrite, count: 1},
		{name: "at the old version", version: []string{"secrets=v1"}, good: v1, late: v1beta1, verdict: verify.Incomplete, code: verify.LateWrite, count: 1},
		{name: "as it should be", values: []string{"secrets=aescbc:key2"}, good: under("key2"), late: under("key2"), verdict: verify.Indeterminate}, // no apiserver tells whose etcd it is
		{name: "which nobody saw", values: []string{"secrets=aescbc:key2"}, good: under("key2"), late: under("key1"), broken: errors.New("the watch broke"), verdict: verify.Indeterminate, code: verify.NotRead},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := etcdtest.Start(t)
			server.Put(t, secretKey+"a", c.good)
			req := request(t, during{openStore(t, server), func() error {
				server.Put(t, secretKey+"a", c.late)
				server.Put(t, secretKey+"a", c.good)
				return c.broken
			}})
			var err error
			if req.Expectations, err = verify.ParseExpectations(c.values, c.version); err != nil {
				t.Fatal(err)
			}
			req.Settle = time.Second
			report := run(t, req)
			if report.Verdict != c.verdict || report.Settled == nil || report.Settled.Late != c.count || c.broken == nil && report.Settled.Writes != 2 {
				t.Errorf("%v, %+v", report.Verdict, report.Settled)
			}
			if c.code != "" && !slices.ContainsFunc(report.Reasons, func(r audit.Reason) bool { return r.Code == c.code }) {
				t.Errorf("no %s among %+v", c.code, report.Reasons)
			}
			if report.After.Source.Revision != server.Revision(t) {
				t.Error("etcd was not read again")
			}
		})
	}
}

// TestSettle looks for late writes by itself where several apiservers exist and something was written.
func TestSettle(t *testing.T) {
	for _, c := range []struct {
		settle        time.Duration
		known, rounds int
		dryRun        migrate.DryRun
		want          time.Duration
	}{
		{-1, 3, 1, migrate.NoDryRun, 30 * time.Second}, {-1, 1, 1, migrate.NoDryRun, 0}, {-1, 3, 0, migrate.NoDryRun, 0},
		{time.Minute, 1, 0, migrate.NoDryRun, time.Minute}, {0, 3, 1, migrate.NoDryRun, 0}, {time.Minute, 3, 1, migrate.ServerDryRun, 0},
	} {
		if got := migrate.SettlesFor(c.settle, c.known, c.rounds, c.dryRun); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
