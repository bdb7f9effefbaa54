package live

import (
	"context"
	"fmt"
)

// Health is what etcd tells of its own room and state.
type Health struct {
	Version string
	DBSize  int64    // bytes of the backend file, of the member that is the fullest
	Quota   int64    // bytes; 0 when etcd does not tell (before 3.6)
	Alarms  []string // raised alarms, such as NOSPACE and CORRUPT
}

// Health asks every endpoint; the fullest member counts. An endpoint that does not answer is an error only when none does.
func (s *Store) Health(ctx context.Context) (Health, error) {
	var h Health
	var lastErr error
	answered := false
	for _, ep := range s.endpoints {
		callCtx, cancel := context.WithTimeout(ctx, s.timeout)
		st, err := s.maintenance.Status(callCtx, ep)
		cancel()
		if err != nil {
			lastErr = err
			continue
		}
		answered = true
		h.Version = st.Version
		if st.DbSize > h.DBSize {
			h.DBSize = st.DbSize
		}
		if st.DbSizeQuota > 0 {
			h.Quota = st.DbSizeQuota
		}
	}
	if !answered {
		return Health{}, fmt.Errorf("asking etcd for its status: %w", classifyError(lastErr))
	}
	callCtx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	alarms, err := s.maintenance.AlarmList(callCtx)
	if err != nil {
		return Health{}, fmt.Errorf("asking etcd for its alarms: %w", classifyError(err))
	}
	for _, a := range alarms.Alarms {
		h.Alarms = append(h.Alarms, a.Alarm.String())
	}
	return h, nil
}
