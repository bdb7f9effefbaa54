package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestMigrateFiveThousand migrates 5,000 secrets with the least rights, and then back in three runs of which two are
// interrupted.
func TestMigrateFiveThousand(t *testing.T) {
	p := startPlane(t, encryption("aescbc:key1", "identity"), "--without-controller-manager", "--audit-log", "--user", "rewriter")
	p.namespace(t, "scale")
	p.createSecrets(t, "scale", "stale", 4000)
	p.rotate(t, encryption("aescbc:key2", "aescbc:key1", "identity"))
	p.createSecrets(t, "scale", "fresh", 1000)
	p.allow(t, "rewriter", "patch")
	contents := p.secrets(t)

	t.Run("least rights", func(t *testing.T) {
		mark := p.auditLogSize(t)
		result := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key2", "--yes", "-o", "json", "--kubeconfig", p.userKubeconfig("rewriter"))
		result.wantCode(t, 0)
		report := result.migration(t)
		wantRewritten(t, report, "patch", outcomes{Rewritten: 4000, AlreadyCurrent: 1000})
		if report.APIServers.Agree != nil {
			t.Errorf("apiservers are %+v, and this user may not ask them", report.APIServers)
		}
		p.wantAllUnder(t, "aescbc:key2")
		wantSameSecrets(t, contents, p.secrets(t))

		accepted, others := 0, 0
		for _, event := range p.auditEvents(t, mark, "rewriter") {
			switch {
			case event.ObjectRef.Resource != "secrets":
				others++
			case event.Verb != "patch":
				t.Errorf("%s of secrets: %s", event.Verb, event.RequestURI)
			case event.ResponseStatus.Code/100 == 2:
				accepted++
				if !strings.Contains(event.RequestURI, "fieldManager=svmctl") || !strings.HasPrefix(event.UserAgent, "svmctl") {
					t.Fatalf("not recognisable as svmctl's: %s by %s", event.RequestURI, event.UserAgent)
				}
			}
		}
		t.Logf("%d patches that were accepted, %d requests for discovery", accepted, others)
		if accepted < 4000 || accepted > 4001 {
			t.Errorf("%d patches were accepted, want at most 4001 for 4000 stale secrets", accepted)
		}
		if others > 200 {
			t.Errorf("%d requests about something else than secrets", others)
		}
	})

	t.Run("interrupted", func(t *testing.T) {
		p.rotate(t, encryption("aescbc:key1", "aescbc:key2", "identity"))
		settled := 0
		for _, stage := range []struct {
			signal os.Signal
			writes int // after which it is sent
		}{{os.Interrupt, 2500}, {syscall.SIGTERM, 1000}} {
			begin := p.revision(t)
			bundle := fmt.Sprintf("interrupted-%d", stage.writes)
			run := p.start(t, "migrate", "secrets", "--to", "aescbc:key1", "--yes", "-o", "json", "--evidence", bundle)
			p.awaitWrites(t, begin, stage.writes)
			if err := run.cmd.Process.Signal(stage.signal); err != nil {
				t.Fatal(err)
			}
			result := run.wait(t)
			result.wantCode(t, 130)
			result.wantError(t, "interrupted")
			report := result.migration(t)
			if verdict(report.Verdict) == "Complete" || report.After != nil {
				t.Errorf("verdict %s, after %+v: an interrupted run cannot know", verdict(report.Verdict), report.After)
			}
			if report.Outcomes.AlreadyCurrent != settled || report.Outcomes.Rewritten < stage.writes || report.Outcomes.Failed != 0 {
				t.Errorf("outcomes are %+v after %d had been rewritten before", report.Outcomes, settled)
			}
			settled += report.Outcomes.Rewritten
			p.wantClaims(t, bundle, "SVM-E2 fail", "SVM-E6 fail")
			p.wantWhy(t, bundle, "SVM-E6", "it ended early: Interrupted")
			p.svmctl(t, "evidence", "verify", bundle).wantCode(t, 0)
			if under := p.countUnder(t, "aescbc:key1"); under != settled {
				t.Errorf("etcd holds %d secrets under key1, and the reports speak of %d", under, settled)
			}
			if settled >= 5000 {
				t.Fatalf("all was done before %s", stage.signal)
			}
		}
		rest := p.svmctl(t, "migrate", "secrets", "--to", "aescbc:key1", "--yes", "-o", "json")
		rest.wantCode(t, 0)
		wantMigration(t, rest.migration(t), "patch", outcomes{Rewritten: 5000 - settled, AlreadyCurrent: settled})
		p.wantAllUnder(t, "aescbc:key1")
		wantSameSecrets(t, contents, p.secrets(t))
	})

	t.Run("two at once", func(t *testing.T) {
		p.rotate(t, encryption("aescbc:key2", "aescbc:key1", "identity"))
		args := []string{"migrate", "secrets", "--to", "aescbc:key2", "--yes", "-o", "json"}
		before := p.timesWritten(t)
		for _, run := range []*process{p.start(t, args...), p.start(t, args...)} {
			result := run.wait(t)
			result.wantCode(t, 0)
			report := result.migration(t)
			// Who of the two wrote an object cannot always be told: an apiserver whose cache is behind answers the second
			// patch with 200 and the revision that the first has made.
			if o := report.Outcomes; verdict(report.Verdict) != "Complete" || o.Rewritten+o.ChangedByOthers+o.AlreadyCurrent != 5000 {
				t.Errorf("verdict %s with %+v", verdict(report.Verdict), o)
			}
		}
		if written := p.timesWritten(t) - before; written != 5000 {
			t.Errorf("%d writes, want each of 5000 written once", written)
		}
		p.wantAllUnder(t, "aescbc:key2")
		wantSameSecrets(t, contents, p.secrets(t))
	})
}

// allow lets a user do the verbs on secrets everywhere. Discovery comes with being somebody.
func (p *plane) allow(t *testing.T, user string, verbs ...string) {
	t.Helper()
	name := user + "-secrets"
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name},
		Rules: []rbacv1.PolicyRule{{Verbs: verbs, APIGroups: []string{""}, Resources: []string{"secrets"}}}}
	if _, err := p.kube.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}}
	if _, err := p.kube.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// auditEvent is one line of the apiserver's audit log.
type auditEvent struct {
	Verb       string `json:"verb"`
	RequestURI string `json:"requestURI"`
	UserAgent  string `json:"userAgent"`
	User       struct {
		Username string `json:"username"`
	} `json:"user"`
	ObjectRef struct {
		Resource string `json:"resource"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

func (p *plane) auditLog() string { return filepath.Join(p.dir, "audit.log") }

func (p *plane) auditLogSize(t *testing.T) int64 {
	t.Helper()
	info, err := os.Stat(p.auditLog())
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// auditEvents are what a user did since the log had the given size.
func (p *plane) auditEvents(t *testing.T, since int64, user string) []auditEvent {
	t.Helper()
	file, err := os.Open(p.auditLog())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Seek(since, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	var events []auditEvent
	decoder := json.NewDecoder(bufio.NewReader(file))
	for {
		var event auditEvent
		switch err := decoder.Decode(&event); err {
		case nil:
			if event.User.Username == user {
				events = append(events, event)
			}
		case io.EOF:
			return events
		default:
			t.Fatal(err)
		}
	}
}

// countUnder counts in etcd the secrets that are encrypted in one way.
func (p *plane) countUnder(t *testing.T, want string) int {
	t.Helper()
	_, under := p.stored(t)
	count := 0
	for _, is := range under {
		if is == want {
			count++
		}
	}
	return count
}

// timesWritten adds up how often each secret that is there was written.
func (p *plane) timesWritten(t *testing.T) int64 {
	t.Helper()
	response, err := p.etcd.Get(t.Context(), secretsDir, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, kv := range response.Kvs {
		sum += kv.Version
	}
	return sum
}
