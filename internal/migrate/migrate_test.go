package migrate_test

import (
	"context"
	"iter"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
	"github.com/svmctl/svmctl/internal/etcdscan/live"
	"github.com/svmctl/svmctl/internal/migrate"
	"github.com/svmctl/svmctl/internal/rewrite"
	"github.com/svmctl/svmctl/internal/verify"
)

const secretKey = "/registry/secrets/ns/"

func under(key string) string { return "k8s:enc:aescbc:v1:" + key + ":" + strings.Repeat("x", 48) }

func openStore(t *testing.T, server *etcdtest.Server) *live.Store {
	t.Helper()
	store, err := live.Open(t.Context(), live.Config{Endpoints: []string{server.Endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// request migrates secrets to key2. Its apiserver does not exist: what these tests are about must not need one.
func request(t *testing.T, store migrate.Store) migrate.Request {
	t.Helper()
	expectations, err := verify.ParseExpectations([]string{"secrets=aescbc:key2"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return migrate.Request{
		Store: store, Config: &rest.Config{Host: "https://127.0.0.1:1"}, Expectations: expectations, Backend: migrate.Patch,
		Resources: []rewrite.Resource{{GroupVersionResource: schema.GroupVersionResource{Version: "v1", Resource: "secrets"}, Kind: "Secret", Namespaced: true}},
		MaxOutage: time.Second, MaxRounds: 3, Now: time.Now,
		Consent: func(context.Context, *migrate.Plan) error {
			t.Error("consent was asked for")
			return nil
		},
	}
}

func run(t *testing.T, req migrate.Request) *migrate.Report {
	t.Helper()
	report, err := migrate.Run(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(report.Close)
	return report
}

// between does something before the second scan pins its revision.
type between struct {
	*live.Store
	pins int
	do   func()
}

func (b *between) Pin(ctx context.Context, r etcdscan.Range, revision int64) (etcdscan.Pin, error) {
	if b.pins++; b.pins == 2 {
		b.do()
	}
	return b.Store.Pin(ctx, r, revision)
}

// A plan with nothing in it is not asked about. What turns stale a moment later is then reported and not written.
func TestNothingIsWrittenThatNobodyAgreedTo(t *testing.T) {
	server := etcdtest.Start(t)
	server.Put(t, secretKey+"a", under("key2"))
	store := &between{Store: openStore(t, server), do: func() { server.Put(t, secretKey+"b", under("key1")) }}
	report := run(t, request(t, store))
	if report.Verdict != verify.Incomplete || report.Rounds != 0 || report.Outcomes != (migrate.Outcomes{AlreadyCurrent: 1}) {
		t.Errorf("%v after %d rounds: %+v", report.Verdict, report.Rounds, report.Outcomes)
	}
}

// A root within a root is judged by the first look and has to be by the last.
func TestTheLastLookCoversWhatTheFirstJudged(t *testing.T) {
	server := etcdtest.Start(t)
	server.Put(t, secretKey+"a", under("key2"))
	server.Put(t, "/registry/tenant-a/secrets/ns/a", under("key2"))
	server.Put(t, "/registry/tenant-a/secrets/ns/b", "garbage")
	report := run(t, request(t, openStore(t, server)))
	if report.Verdict != verify.Indeterminate || report.After.Totals.Keys != 3 {
		t.Errorf("%v of %d keys under %q", report.Verdict, report.After.Totals.Keys, report.After.Scope.Prefixes)
	}
}

// cutShort is a store that loses its revision under way, at every attempt.
type cutShort struct{ *live.Store }

func (cutShort) Read(context.Context, etcdscan.Range, int64) iter.Seq2[[]etcdscan.KeyValue, error] {
	return func(yield func([]etcdscan.KeyValue, error) bool) { yield(nil, etcdscan.ErrCompacted) }
}

// What was not read cannot be planned: no kind of run may look as if there were nothing to do.
func TestAnUnreadStoreIsNeverAnEmptyPlan(t *testing.T) {
	server := etcdtest.Start(t)
	server.Put(t, secretKey+"a", under("key1"))
	for _, dryRun := range []migrate.DryRun{migrate.NoDryRun, migrate.ClientDryRun, migrate.ServerDryRun} {
		req := request(t, cutShort{openStore(t, server)})
		req.DryRun = dryRun
		report := run(t, req)
		if report.Verdict != verify.Indeterminate || !report.Unread || len(report.Reasons) == 0 {
			t.Errorf("dry run %q: %v, unread %v, %v", dryRun, report.Verdict, report.Unread, report.Reasons)
		}
	}
}
