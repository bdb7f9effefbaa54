package live

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Health is what etcd tells of its own room and state.
type Health struct {
	Version string   // with kine, of the etcd that it stands in for
	DBSize  int64    // bytes of the backend file, of the member that is the fullest
	Quota   int64    // bytes; 0 when etcd does not tell (before 3.6)
	Alarms  []string // raised alarms, such as NOSPACE and CORRUPT
}

// Health asks every endpoint; the fullest member counts. An endpoint that does not answer is an error only when none does.
func (s *Store) Health(ctx context.Context) (Health, error) {
	var h Health
	var lastErr error
	answered := false
	statuses, cancel := s.statuses(ctx)
	defer cancel()
	var enough <-chan time.Time // a member that does not answer must not hold up those that do
waiting:
	for range s.endpoints {
		select {
		case st := <-statuses:
			if st.err == nil {
				st.err = s.cluster.check(st.Header)
			}
			if st.err != nil {
				lastErr = st.err
				continue
			}
			answered = true
			enough = time.After(introduction)
			h.Version = st.Version
			h.DBSize = max(h.DBSize, st.DbSize)
			if st.DbSizeQuota > 0 {
				h.Quota = st.DbSizeQuota
			}
		case <-enough:
			break waiting
		}
	}
	if !answered {
		return Health{}, fmt.Errorf("asking etcd for its status: %w", classifyError(lastErr))
	}
	if s.Kine() {
		return h, nil // it raises no alarms
	}
	callCtx, cancelAlarms := context.WithTimeout(ctx, s.timeout)
	defer cancelAlarms()
	alarms, err := s.maintenance.AlarmList(callCtx)
	if err != nil {
		return Health{}, fmt.Errorf("asking etcd for its alarms: %w", classifyError(err))
	}
	for _, a := range alarms.Alarms {
		h.Alarms = append(h.Alarms, a.Alarm.String())
	}
	return h, nil
}

// memberStatus is what one endpoint answered.
type memberStatus struct {
	*clientv3.StatusResponse
	err error
}

// statuses asks all endpoints at once; as many answers come as there are endpoints.
func (s *Store) statuses(ctx context.Context) (<-chan memberStatus, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	answers := make(chan memberStatus, len(s.endpoints))
	for _, ep := range s.endpoints {
		go func() {
			status, err := s.maintenance.Status(ctx, ep)
			answers <- memberStatus{status, err}
		}()
	}
	return answers, cancel
}
