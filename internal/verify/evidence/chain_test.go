package evidence

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/svmctl/svmctl/internal/verify"
)

func TestChain(t *testing.T) {
	server := startWith(t, usual())
	parent := t.TempDir()
	bundle := func(name, uid string, at time.Time, previous *Previous) string {
		o := look{expect: []string{"secrets=aescbc:key2"}}.live(t, server)
		o.Report.StartedAt, o.FinishedAt = at, at.Add(time.Second)
		o.Cluster.KubeSystemNamespaceUID, o.Previous = uid, previous
		dir := filepath.Join(parent, name)
		if _, err := Write(dir, o, Options{}); err != nil {
			t.Fatal(err)
		}
		sound(t, dir)
		return dir
	}
	cluster := Cluster{KubeSystemNamespaceUID: "u", EtcdClusterID: look{}.live(t, server).Report.Source.ClusterID}
	if p := Newest(parent, cluster, noon); p != nil {
		t.Errorf("before the first there is %+v", p)
	}
	first := bundle("c", "u", noon.Add(-2*time.Hour), nil)
	before, err := Before(first)
	if err != nil || before.SHA256 != fmt.Sprintf("%x", sha256.Sum256(file(t, first, StatementFile))) || before.Revision == 0 || !before.ScannedAt.Equal(noon.Add(-2*time.Hour+time.Second)) {
		t.Errorf("%+v, %v", before, err)
	}
	second := bundle("b", "u", noon.Add(-time.Hour), before)
	bundle("other", "another cluster", noon.Add(-time.Minute), nil)
	bundle("a", "u", noon.Add(time.Hour), nil)
	s, err := ReadStatement(second)
	if err != nil || s.Predicate.PreviousStatement == nil || s.Predicate.PreviousStatement.Digest.SHA256 != before.SHA256 {
		t.Errorf("%+v, %v", s, err)
	}
	// What is no bundle is passed over.
	put(t, parent, "file", []byte("x"))
	for name, text := range map[string]string{"empty": "", "broken": "{", "foreign": `{"_type":"https://in-toto.io/Statement/v1"}`} {
		if err := os.Mkdir(filepath.Join(parent, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if text != "" {
			put(t, filepath.Join(parent, name), StatementFile, []byte(text))
		}
	}
	want, err := Before(second)
	if err != nil {
		t.Fatal(err)
	}
	if p := Newest(parent, cluster, noon); p == nil || *p != *want {
		t.Errorf("the newest is %+v, and should be %+v", p, want)
	}
	for _, c := range []Cluster{{}, {KubeSystemNamespaceUID: "u"}, {KubeSystemNamespaceUID: "v", EtcdClusterID: cluster.EtcdClusterID}, {KubeSystemNamespaceUID: "u", EtcdClusterID: "1"}} {
		if p := Newest(parent, c, noon); p != nil {
			t.Errorf("of %+v there is %+v", c, p)
		}
	}
	if p := Newest(filepath.Join(parent, "nowhere"), cluster, noon); p != nil {
		t.Errorf("in no directory there is %+v", p)
	}
	if _, err := Before(parent); err == nil {
		t.Error("what is no bundle has a statement")
	}
	for _, c := range []struct {
		cluster Cluster
		ok      bool
	}{{cluster, true}, {Cluster{}, true}, {Cluster{EtcdClusterID: cluster.EtcdClusterID}, true}, {Cluster{KubeSystemNamespaceUID: "v", EtcdClusterID: cluster.EtcdClusterID}, false},
		{Cluster{KubeSystemNamespaceUID: "u", EtcdClusterID: "1"}, false}} {
		if p, err := Named(second, c.cluster); (err == nil) != c.ok || c.ok && *p != *want {
			t.Errorf("for %+v to follow it is %+v, %v", c.cluster, p, err)
		}
	}
	// The statement before is a part of this one.
	rescan(t, second, func(s *Scan) { s.Previous = nil })
	resum(t, second)
	if v := check(t, second, nil); v.Verdict != verify.Incomplete {
		t.Errorf("with its chain cut it is %s", v.Verdict)
	}
}
