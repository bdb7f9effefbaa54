package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/svmctl/svmctl/internal/etcdscan/live"
)

const (
	// fullest is the part of etcd's quota beyond which nothing more is rewritten: every rewrite stays in etcd until
	// compaction, and a full etcd takes no write from anybody.
	fullest = 0.8
	// roomInterval is how often etcd is asked for its size.
	roomInterval = 2 * time.Second
)

func (m *migration) quota(h live.Health) int64 {
	if m.Quota > 0 {
		return m.Quota
	}
	return h.Quota
}

// checkRoom refuses to begin while etcd has an alarm, or is too full already.
func (m *migration) checkRoom(ctx context.Context) error {
	h, err := m.Store.Health(ctx)
	if err != nil {
		return fmt.Errorf("looking at etcd's room before writing: %w", err)
	}
	var ahead int64
	if m.Backend == SVM {
		ahead = m.report.Plan.Bytes // the in-tree controller cannot be held once it is at work
	}
	if stop := m.noRoom(h, ahead); stop != nil {
		return stop
	}
	if m.quota(h) == 0 && !slices.Contains(m.report.Warnings, quotaUnknown) {
		m.report.Warnings = append(m.report.Warnings, quotaUnknown)
	}
	return nil
}

// noRoom tells why nothing may be written now, or nil. Ahead are bytes that will be written without another look.
func (m *migration) noRoom(h live.Health, ahead int64) *Stop {
	if len(h.Alarms) > 0 {
		return &Stop{Code: StopAlarm, Message: "etcd has raised the alarm " + strings.Join(h.Alarms, ", "),
			Hint: "clear its cause first: etcdctl alarm list, endpoint status, compact and defrag, then alarm disarm"}
	}
	if quota := m.quota(h); quota > 0 && float64(h.DBSize+ahead) > fullest*float64(quota) {
		return &Stop{Code: StopQuota, Message: fmt.Sprintf("etcd's file has %d bytes and %d will be added, which is more than %.0f %% of its quota of %d", h.DBSize, ahead, 100*fullest, quota),
			Hint: "compact and defragment etcd, or raise --quota-backend-bytes; the same command then does the rest"}
	}
	return nil
}

const quotaUnknown = "etcd does not tell its quota (before 3.6, and kine has none): --etcd-quota names it, and svmctl then stops before it is reached"

// room is the gate of a rewrite: it lets through while etcd has room, and waits for at most the outage limit for
// somebody to make some.
func (m *migration) room() func(context.Context) error {
	var asked time.Time
	return func(ctx context.Context) error {
		if time.Since(asked) < roomInterval {
			return nil
		}
		for since := time.Now(); ; {
			h, err := m.Store.Health(ctx)
			if err != nil {
				return &unreadableError{fmt.Errorf("looking at etcd's room while writing: %w", err)}
			}
			asked = time.Now()
			stop := m.noRoom(h, 0)
			if stop == nil {
				m.Progress.pause("")
				return nil
			}
			if stop.Code == StopAlarm || time.Since(since) > m.MaxOutage {
				return stop
			}
			m.Progress.pause(stop.Message)
			select {
			case <-time.After(roomInterval):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}
