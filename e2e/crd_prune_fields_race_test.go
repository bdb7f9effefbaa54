package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// oddNarrowed is a plane with count widgets at v1 that lose nothing, under the narrow definition.
func oddNarrowed(t *testing.T, count int) *plane {
	t.Helper()
	p := startPlane(t, "", "--without-controller-manager")
	p.oddDefine(t, oddManifest(t, "widgets-wide"))
	for i := range count {
		p.oddCreate(t, "widgets", oddObject("v1", "Widget", fmt.Sprintf("w-%03d", i), map[string]any{"size": "small"}))
	}
	p.oddDefine(t, oddManifest(t, "widgets-narrow"))
	p.oddAwaitStored(t, "widgets", "Widget", "v1", "v2", map[string]any{"size": "small"})
	return p
}

// oddLost walks through etcd's history since a revision and lists the keys that had spec.extra and were written without it.
func (p *plane) oddLost(t *testing.T, since int64) []string {
	t.Helper()
	last := int64(0)
	for _, kv := range p.raw(t, widgetDir) {
		last = max(last, kv.ModRevision)
	}
	if last <= since {
		t.Fatal("no widget was written since")
	}
	had := make(map[string]bool)
	var lost []string
	for response := range p.etcd.Watch(t.Context(), widgetDir, clientv3.WithPrefix(), clientv3.WithRev(since+1)) {
		if err := response.Err(); err != nil {
			t.Fatal(err)
		}
		for _, event := range response.Events {
			key := string(event.Kv.Key)
			_, has := oddDecode(t, event.Kv)["spec"].(map[string]any)["extra"]
			if had[key] && !has {
				lost = append(lost, key)
			}
			had[key] = has
			if event.Kv.ModRevision == last {
				slices.Sort(lost)
				return slices.Compact(lost)
			}
		}
	}
	t.Fatalf("etcd showed no write at revision %d", last)
	return nil
}

// TestPruneFieldsWrittenMeanwhile: while svmctl migrates, somebody writes a field that the schema does not know into
// objects that had lost nothing when svmctl looked. A naive version trusts that look; its patches lose the field.
func TestPruneFieldsWrittenMeanwhile(t *testing.T) {
	const count = 200
	for name, consent := range map[string]bool{"without consent": false, "with consent": true} {
		t.Run(name, func(t *testing.T) {
			p := oddNarrowed(t, count)
			since := p.revision(t)
			args := []string{"migrate", widgetCRD, "--yes", "--qps", "50", "--concurrency", "4", "-o", "json"}
			if consent {
				args = append(args, "--allow-pruning")
			}
			run := p.start(t, args...)
			first := p.raw(t, widgetDir+"default/w-000")[0].ModRevision
			await(t, 30*time.Second, "the first object to be written", func(context.Context) (bool, string) {
				return p.raw(t, widgetDir+"default/w-000")[0].ModRevision != first, "unwritten"
			})
			written := 0
			for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline); {
				// Objects are taken in key order: these are still to come, and turn stale again where they are not.
				key := fmt.Sprintf("%sdefault/w-%03d", widgetDir, rand.IntN(count))
				if p.oddEdit(t, key, func(object map[string]any) {
					object["apiVersion"] = "odd.example.com/v1"
					object["spec"].(map[string]any)["extra"] = canaryInData
				}) {
					written++
				}
			}
			res := run.wait(t)
			report := res.oddMigration(t)
			lost := p.oddLost(t, since)
			t.Logf("%d written meanwhile, exit status %d, %d lost, %d named, %d rounds", written, res.code, len(lost), len(report.Pruned), report.Rounds)
			var named []string
			for key := range report.prunedBy(map[bool]string{false: "refused", true: "lost"}[consent]) {
				named = append(named, key)
			}
			slices.Sort(named)
			if consent {
				for _, key := range lost {
					if !slices.Contains(named, key) {
						t.Errorf("%s lost its field and is not listed", key)
					}
				}
				if len(lost) == 0 {
					t.Error("nothing was lost: the test shows nothing")
				}
				return
			}
			res.wantCode(t, 3)
			if len(lost) > 0 {
				t.Errorf("without consent these lost their field: %v", lost)
			}
			var held []string
			for _, kv := range p.raw(t, widgetDir) {
				if _, has := oddDecode(t, kv)["spec"].(map[string]any)["extra"]; has {
					held = append(held, string(kv.Key))
				}
			}
			if len(held) == 0 {
				t.Error("no object has the field: the test shows nothing")
			}
			if report.Rounds < 5 && !reflect.DeepEqual(held, named) {
				t.Errorf("%v have the field, and %v are named as refused", held, named)
			}
		})
	}
}
