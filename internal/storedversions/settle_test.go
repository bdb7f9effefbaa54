package storedversions

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/crd"
)

// changed writes the definition as one whose spec was changed so long ago.
func (c *cluster) changed(ago time.Duration, generation int64, stored []string, versions ...string) {
	c.t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(definition("uid-1", stored, versions...)), &object); err != nil {
		c.t.Fatal(err)
	}
	metadata := object["metadata"].(map[string]any)
	metadata["generation"] = generation
	metadata["managedFields"] = []any{
		map[string]any{"manager": "kubectl", "operation": "Update", "apiVersion": "apiextensions.k8s.io/v1", "time": time.Now().Add(-ago).UTC().Format(time.RFC3339)},
		map[string]any{"manager": "apiserver", "operation": "Update", "apiVersion": "apiextensions.k8s.io/v1", "subresource": "status", "time": time.Now().UTC().Format(time.RFC3339)},
	}
	text, err := json.Marshal(object)
	if err != nil {
		c.t.Fatal(err)
	}
	c.etcd.Put(c.t, c.key(), string(text))
}

// A request that began before the storage version was changed writes at the old one after every apiserver agrees and etcd was
// read. A version that trims without waiting says Clean.
func TestWritesUnderWay(t *testing.T) {
	t.Parallel()
	c := prunable(t)
	req := c.pruneRequest()
	req.Settle = time.Second
	req.Waiting = func(time.Duration) { c.object("late", "v1") }
	if row := c.prune(t.Context(), req); !row.Refused || row.State != NeedsMigration || row.ToRevision != 0 {
		t.Errorf("%+v, want a refusal before anything was written", row)
	}
	c.wantStored("v1", "v2")
}

func TestWhenNobodyHasToWait(t *testing.T) {
	for _, tc := range []struct {
		name  string
		ago   time.Duration
		waits bool
	}{
		{"changed long ago", 2 * time.Hour, false},
		{"changed a minute ago", time.Minute, true},
		{"changed by a clock that is ahead", -time.Hour, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := prunable(t)
			c.changed(tc.ago, 2, []string{"v1", "v2"}, "v2", "v1")
			req := c.pruneRequest()
			req.Settle = 300 * time.Millisecond
			waited := 0
			req.Waiting = func(time.Duration) { waited++ }
			if row := c.prune(t.Context(), req); row.Refused || row.State != Clean || (waited > 0) != tc.waits {
				t.Errorf("%+v, waited %d times", row, waited)
			}
		})
	}
}

// The wait counts from the agreement on the definition as it is: one that was changed meanwhile is waited for anew.
func TestTheWaitBeginsAnewWithAChange(t *testing.T) {
	t.Parallel()
	c := prunable(t)
	c.changed(time.Second, 2, []string{"v1", "v2"}, "v2", "v1")
	req := c.pruneRequest()
	req.Settle = 400 * time.Millisecond
	var waits []time.Duration
	req.Waiting = func(d time.Duration) {
		if waits = append(waits, d); len(waits) == 1 {
			c.changed(time.Second, 3, []string{"v1", "v2"}, "v2", "v1")
		}
	}
	if row := c.prune(t.Context(), req); row.Refused || len(waits) != 2 || waits[1] < 300*time.Millisecond {
		t.Errorf("%+v after waits of %v, want two whole ones", row, waits)
	}
}

// An apiserver that was late to see a change of long ago has requests under way that began before it did.
func TestALateApiserverIsWaitedFor(t *testing.T) {
	d := &crd.Definition{Name: name, UID: "uid-1", Generation: 2, UnchangedFor: 2 * time.Hour}
	agree := apiservers.Agreement{Agree: yes}
	r := &Report{agreed: make(map[string]accord)}
	r.note(d, agree, false)
	if wait := r.unsettled(d, time.Minute); wait > 0 {
		t.Errorf("all agreed at once, and it waits for %s", wait)
	}
	r.note(d, apiservers.Agreement{Agree: no}, false)
	r.note(d, agree, false)
	if wait := r.unsettled(d, time.Minute); wait < 50*time.Second {
		t.Errorf("one was late, and it waits for %s", wait)
	}
	anew := *d
	anew.UID = "uid-2"
	if wait := r.unsettled(&anew, time.Minute); wait < 50*time.Second {
		t.Errorf("it was made anew, and it waits for %s", wait)
	}
}

func TestInterruptedWhileItWaits(t *testing.T) {
	t.Parallel()
	c := prunable(t)
	req := c.pruneRequest()
	req.Settle = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	req.Waiting = func(time.Duration) { cancel() }
	if _, err := Prune(ctx, req); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want an interruption", err)
	}
	c.wantStored("v1", "v2")
}
