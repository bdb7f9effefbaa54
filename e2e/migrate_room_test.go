package e2e

import (
	"fmt"
	"maps"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// TestMigrateFullEtcd has an etcd without room.
func TestMigrateFullEtcd(t *testing.T) {
	p := startPlane(t, encryption("aescbc:key1", "identity"), "--without-controller-manager")
	p.namespace(t, "room")
	p.createSecrets(t, "room", "app", 1500)
	p.rotate(t, encryption("aescbc:key2", "aescbc:key1", "identity"))
	migrate := []string{"migrate", "secrets", "--to", "aescbc:key2", "--yes", "-o", "json"}

	t.Run("alarm", func(t *testing.T) {
		p.raiseAlarm(t)
		revisions, _ := p.stored(t)
		result := p.svmctl(t, migrate...)
		result.wantCode(t, 1)
		result.wantError(t, "alarm", "NOSPACE", "disarm")
		if after, _ := p.stored(t); !maps.Equal(revisions, after) {
			t.Error("something was written")
		}
		p.etcdctl(t, "alarm", "disarm")
	})

	t.Run("too full to begin", func(t *testing.T) {
		revisions, _ := p.stored(t)
		result := p.svmctl(t, append(migrate, "--etcd-quota", fmt.Sprint(p.databaseSize(t)))...)
		result.wantCode(t, 1)
		result.wantError(t, "quota", "compact")
		if after, _ := p.stored(t); !maps.Equal(revisions, after) {
			t.Error("something was written")
		}
	})

	t.Run("full on the way", func(t *testing.T) {
		// Room for a part: svmctl may fill four fifths of the quota.
		quota := (p.databaseSize(t) + 500<<10) * 5 / 4
		result := p.svmctl(t, append(migrate, "--etcd-quota", fmt.Sprint(quota), "--max-outage", "3s", "--qps", "200")...)
		result.wantCode(t, 3)
		result.wantError(t, "quota", "compact")
		report := result.migration(t)
		done := p.countUnder(t, "aescbc:key2")
		if verdict(report.Verdict) != "Incomplete" || report.Outcomes.Rewritten != done || done == 0 || done == 1500 {
			t.Errorf("verdict %s with %+v, etcd holds %d under key2", verdict(report.Verdict), report.Outcomes, done)
		}

		rest := p.svmctl(t, migrate...)
		rest.wantCode(t, 0)
		wantMigration(t, rest.migration(t), "patch", outcomes{Rewritten: 1500 - done, AlreadyCurrent: done})
	})

	t.Run("alarm on the way", func(t *testing.T) {
		p.rotate(t, encryption("aescbc:key1", "aescbc:key2", "identity"))
		begin := p.revision(t)
		run := p.start(t, "migrate", "secrets", "--to", "aescbc:key1", "--yes", "-o", "json", "--qps", "200")
		p.awaitWrites(t, begin, 200)
		p.raiseAlarm(t)
		result := run.wait(t)
		result.wantCode(t, 3)
		result.wantError(t, "alarm", "NOSPACE")
		if report := result.migration(t); verdict(report.Verdict) != "Incomplete" || report.Outcomes.Rewritten == 0 {
			t.Errorf("verdict %s with %+v", verdict(report.Verdict), report.Outcomes)
		}
		p.etcdctl(t, "alarm", "disarm")
	})
}

// raiseAlarm has etcd raise its alarm for a full database, which etcdctl cannot.
func (p *plane) raiseAlarm(t *testing.T) {
	t.Helper()
	status, err := p.etcd.Status(t.Context(), p.variable("ETCDCTL_ENDPOINTS"))
	if err != nil {
		t.Fatal(err)
	}
	request := &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: status.Header.MemberId, Alarm: pb.AlarmType_NOSPACE}
	if _, err := pb.NewMaintenanceClient(p.etcd.ActiveConnection()).Alarm(t.Context(), request); err != nil {
		t.Fatal(err)
	}
}

// databaseSize is that of etcd's file.
func (p *plane) databaseSize(t *testing.T) int64 {
	t.Helper()
	status, err := p.etcd.Status(t.Context(), p.variable("ETCDCTL_ENDPOINTS"))
	if err != nil {
		t.Fatal(err)
	}
	return status.DbSize
}
