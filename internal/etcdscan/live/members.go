package live

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// registry is the part of clientv3.Cluster that a reader may use.
type registry interface {
	MemberList(ctx context.Context, opts ...clientv3.OpOption) (*clientv3.MemberListResponse, error)
}

// Member is a member of the cluster, and what it tells of itself.
type Member struct {
	ID          string // hex
	Name        string
	ClientURLs  []string
	Learner     bool
	Answered    bool // and tells the rest
	Version     string
	Storage     string // version of its schema; empty before 3.6
	Leader      bool
	DBSize      int64 // bytes
	DBSizeInUse int64
	RaftApplied uint64
}

// Members lists the members of the cluster, and asks each at the addresses that it gives to clients, and those that are known by their
// endpoints also there. kine has none.
func (s *Store) Members(ctx context.Context) ([]Member, error) {
	if s.Kine() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	list, err := s.members.MemberList(ctx)
	if err == nil {
		err = s.cluster.check(list.Header)
	}
	if err != nil {
		return nil, fmt.Errorf("listing the members of etcd: %w", classifyError(err))
	}
	own := s.statusesByID(ctx)
	members := make([]Member, len(list.Members))
	var all sync.WaitGroup
	for i, m := range list.Members {
		members[i] = Member{ID: strconv.FormatUint(m.ID, 16), Name: m.Name, ClientURLs: slices.Clone(m.ClientURLs), Learner: m.IsLearner}
		if status := own[m.ID]; status != nil {
			members[i].tell(status)
			continue
		}
		all.Go(func() { s.askMember(ctx, m, &members[i]) })
	}
	all.Wait()
	slices.SortFunc(members, func(a, b Member) int {
		return slices.Compare([]string{a.Name, a.ID}, []string{b.Name, b.ID})
	})
	return members, nil
}

// statusesByID are the answers of the endpoints.
func (s *Store) statusesByID(ctx context.Context) map[uint64]*clientv3.StatusResponse {
	answers, cancel := s.statuses(ctx)
	defer cancel()
	by := make(map[uint64]*clientv3.StatusResponse)
	for range s.endpoints {
		if a := <-answers; a.err == nil && s.cluster.check(a.Header) == nil {
			by[a.Header.MemberId] = a.StatusResponse
		}
	}
	return by
}

// askMember asks a member of which no endpoint is known.
func (s *Store) askMember(ctx context.Context, m *etcdserverpb.Member, into *Member) {
	for _, url := range m.ClientURLs {
		status, err := s.maintenance.Status(ctx, url)
		if err == nil && s.cluster.check(status.Header) == nil && status.Header.MemberId == m.ID {
			into.tell(status)
			return
		}
	}
}

func (m *Member) tell(s *clientv3.StatusResponse) {
	m.Answered, m.Version, m.Storage, m.Leader = true, s.Version, s.StorageVersion, s.Leader == s.Header.MemberId
	m.DBSize, m.DBSizeInUse, m.RaftApplied = s.DbSize, s.DbSizeInUse, s.RaftAppliedIndex
}
