package migrate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/verify"
)

// severalSettle is how long late writes are looked out for when nobody says how long and there are several apiservers.
const severalSettle = 30 * time.Second

// Settled is what came after the last rewrite while svmctl looked out for it.
type Settled struct {
	Seconds float64 `json:"seconds"`
	Writes  int64   `json:"writes"` // to the targets' keys, by anybody
	Late    int64   `json:"late"`   // of these, under another key or at another version than expected
}

// namedLate is how many late writes are named.
const namedLate = 3

// settle looks out for writes of an apiserver that goes on under the old key or version, and then reads etcd once more. Such a write
// makes the migration Incomplete, whatever has become of it since.
func (m *migration) settle(ctx context.Context) error {
	patience := m.settlesFor()
	if patience == 0 || ctx.Err() != nil {
		return nil
	}
	m.Progress.begin(phaseWatching)
	after := m.report.After
	settled := &Settled{}
	var late []string
	started := time.Now()
	window, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	scope := etcdscan.NewScope(m.scope, after.Roots)
	err := m.Store.Follow(window, scope.Ranges, after.Source.Revision, func(kv etcdscan.KeyValue) error {
		settled.Writes++
		entry := etcdscan.Inspect(ctx, scope.Root(kv.Key), &kv, m.Opener)
		if !m.Expectations.Stale(&entry, rewritable) {
			return nil
		}
		if settled.Late++; settled.Late <= namedLate {
			late = append(late, fmt.Sprintf("%q at revision %d", kv.Key, kv.ModRevision))
		}
		return nil
	})
	settled.Seconds = time.Since(started).Seconds()
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		// What is written after this is seen by the scan, as far as it is still there then.
		m.report.Reasons = append(m.report.Reasons, audit.Reason{Code: verify.NotRead, Severity: verify.Warning, Message: "watching for late writes ended early: " + err.Error()})
		select {
		case <-window.Done():
		case <-ctx.Done():
			return nil
		}
	}
	m.report.Settled = settled
	if settled.Late > 0 {
		m.report.Reasons = append(m.report.Reasons, audit.Reason{Code: verify.LateWrite, Severity: verify.Error, Objects: settled.Late,
			Message: fmt.Sprintf("written after the migration under another key or at another version than expected: %s%s", strings.Join(late, ", "), more(settled.Late))})
	}
	return m.lookAfterwards(ctx)
}

func more(late int64) string {
	if late <= namedLate {
		return ""
	}
	return fmt.Sprintf(" and %d more", late-namedLate)
}

// settlesFor is how long late writes are looked out for. Where nothing was written there is nothing for them to undo.
func (m *migration) settlesFor() time.Duration {
	r := m.report
	if r.After == nil || !r.After.Scope.Whole {
		return 0
	}
	return settlesFor(m.Settle, max(r.APIServers.Known, len(m.survey.Distinct())), r.Rounds, m.DryRun)
}

func settlesFor(asked time.Duration, apiservers, rounds int, dryRun DryRun) time.Duration {
	switch {
	case dryRun != NoDryRun:
		return 0
	case asked >= 0:
		return asked
	case rounds > 0 && apiservers > 1:
		return severalSettle
	}
	return 0
}

// lookAfterwards puts what etcd holds when the wait is over in the place of the last look.
func (m *migration) lookAfterwards(ctx context.Context) error {
	next, err := m.look(ctx)
	switch {
	case ctx.Err() != nil:
		if err == nil {
			next.Close()
		}
		return nil
	case errors.Is(err, ErrForeignEtcd):
		return err
	case err != nil:
		m.dropAfter()
		m.report.Stopped = unreadable(err)
		return nil
	}
	m.dropAfter()
	m.report.After = next
	return nil
}
