package residue_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
	"github.com/svmctl/svmctl/internal/residue"
)

const secrets = 200

// canary is a text that stands in the plaintext of one secret and nowhere else.
func canary(i int) string { return fmt.Sprintf("CANARY-%03d-of-the-first-writing", i) }

// member is an etcd whose files can be looked at between two runs.
type member struct {
	dir string
	*etcdtest.Server
}

func start(t *testing.T) *member {
	m := &member{dir: filepath.Join(t.TempDir(), "data")}
	m.run(t)
	return m
}

func (m *member) run(t *testing.T) {
	m.Server = etcdtest.Start(t, func(c *embed.Config) { c.Dir = m.dir })
}

// write writes as an apiserver does: with the revision that it knows as the condition.
func (m *member) write(t *testing.T, key string, value []byte) {
	t.Helper()
	ctx := t.Context()
	have, err := m.Client.Get(ctx, key, clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	revision := int64(0)
	if len(have.Kvs) > 0 {
		revision = have.Kvs[0].ModRevision
	}
	resp, err := m.Client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
		Then(clientv3.OpPut(key, string(value))).Else(clientv3.OpGet(key)).Commit()
	if err != nil || !resp.Succeeded {
		t.Fatalf("%s: %v", key, err)
	}
}

func secretKey(i int) string { return fmt.Sprintf("/registry/secrets/default/s-%03d", i) }

func plaintext(i int) []byte {
	return fmt.Appendf(nil, `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"s-%03d","namespace":"default"},"data":{"password":%q}}`, i, canary(i))
}

func sealed(t *testing.T, name string) []byte {
	body := make([]byte, 16*20)
	if _, err := rand.Read(body); err != nil {
		t.Fatal(err)
	}
	return append([]byte("k8s:enc:aescbc:v1:"+name+":"), body...)
}

// search counts the canaries in files by their bytes alone.
func search(t *testing.T, dir string, in func(name string) bool) int {
	t.Helper()
	var all []byte
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !in(path) {
			return err
		}
		data, err := os.ReadFile(path)
		all = append(all, data...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i := range secrets {
		if bytes.Contains(all, []byte(canary(i))) {
			n++
		}
	}
	return n
}

func database(path string) bool { return filepath.Base(path) == "db" }
func segment(path string) bool  { return filepath.Ext(path) == ".wal" }

func look(t *testing.T, paths ...string) *residue.Report {
	t.Helper()
	r, err := residue.Run(t.Context(), residue.Request{Paths: paths, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Files {
		if f.Problem != "" {
			t.Errorf("%s: %s", f.Path, f.Problem)
		}
	}
	document, err := json.Marshal(r)
	if err != nil || bytes.Contains(document, []byte("CANARY")) {
		t.Fatalf("the report holds a canary, %v", err)
	}
	return r
}

// values counts the values of secrets in a place.
func values(r *residue.Report, place residue.Place, provider, key string) (n int64) {
	for _, c := range r.Counts {
		if c.Place == place && c.Resource == "secrets" && string(c.Provider) == provider && c.Key == key {
			n += c.Values
		}
	}
	return n
}

func expect(t *testing.T, r *residue.Report, when string, live, history, free, log int64) {
	t.Helper()
	for place, want := range map[residue.Place]int64{residue.Live: live, residue.History: history, residue.FreePages: free, residue.WAL: log} {
		if got := values(r, place, "identity", ""); got != want {
			t.Errorf("%s: %d plaintext values in %s, want %d", when, got, place, want)
		}
	}
}

func TestPlaintextThatWasEncrypted(t *testing.T) {
	m := start(t)
	for i := range secrets {
		m.write(t, secretKey(i), plaintext(i))
	}
	for i := range secrets {
		m.write(t, secretKey(i), sealed(t, "key1"))
	}
	m.Stop()
	r := look(t, m.dir)
	expect(t, r, "after the rotation", 0, secrets, values(r, residue.FreePages, "identity", ""), secrets)
	if n := values(r, residue.Live, "aescbc", "key1"); n != secrets {
		t.Errorf("%d live secrets under key1", n)
	}
	if db, log := search(t, m.dir, database), search(t, m.dir, segment); db != secrets || log != secrets {
		t.Fatalf("a byte search finds %d in the database and %d in the log", db, log)
	}
	steps(t, r, "etcdctl compact", "rotated")

	m.run(t)
	if _, err := m.Client.Compact(t.Context(), m.Revision(t), clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	m.Stop()
	r = look(t, m.dir)
	expect(t, r, "after compaction", 0, 0, int64(search(t, m.dir, database)), secrets)
	// Etcd's own commits may have used some of the pages again.
	if values(r, residue.FreePages, "identity", "") < secrets/2 {
		t.Errorf("%d of %d values in free pages", values(r, residue.FreePages, "identity", ""), secrets)
	}
	steps(t, r, "etcdctl defrag", "rotated")

	m.run(t)
	if _, err := m.Client.Defragment(t.Context(), m.Endpoint); err != nil {
		t.Fatal(err)
	}
	m.Stop()
	r = look(t, m.dir)
	if n := search(t, m.dir, database); n != 0 {
		t.Fatalf("a byte search finds %d after defragmentation", n)
	}
	expect(t, r, "after defragmentation", 0, 0, 0, int64(search(t, m.dir, segment)))
	steps(t, r, "rotated")
}

// steps makes sure that there are just these, by a part of their text.
func steps(t *testing.T, r *residue.Report, want ...string) {
	t.Helper()
	var have []string
	for _, s := range r.Steps {
		have = append(have, s.Do)
	}
	for _, w := range want {
		if !strings.Contains(strings.Join(have, "\n"), w) {
			t.Errorf("no step %q among %q", w, have)
		}
	}
	if r.Open() != (len(have) > 0) {
		t.Errorf("open: %v with %d steps", r.Open(), len(have))
	}
}

func TestInterrupted(t *testing.T) {
	m := start(t)
	m.write(t, secretKey(1), plaintext(1))
	m.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := residue.Run(ctx, residue.Request{Paths: []string{m.dir}, Now: time.Now}); err == nil {
		t.Fatal("it did not stop")
	}
}

// wantLeft is how many of the values of a row are left behind, all or none.
func wantLeft(c residue.Count, left bool) int64 {
	if left {
		return c.Values
	}
	return 0
}

// Names as k3s gives them hold colons: none may be invented, wherever a value lies and whatever of it is left.
func TestKeyNamesWithColons(t *testing.T) {
	const before, after = "aescbckey-2022-04-21T23:01:02-07:00", "aescbckey-2023-05-01T08:00:00-07:00"
	m := start(t)
	for _, name := range []string{before, after} {
		for i := range secrets {
			m.write(t, secretKey(i), sealed(t, name))
		}
	}
	if _, err := m.Client.Compact(t.Context(), m.Revision(t)-secrets/2, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	m.Stop()
	r := look(t, m.dir)
	for _, c := range r.Counts {
		if c.Resource == "secrets" && (c.Key != before && c.Key != after || c.LeftBehind != wantLeft(c, c.Key == before)) {
			t.Errorf("%+v", c)
		}
	}
	if n := values(r, residue.History, "aescbc", before); n != secrets/2 {
		t.Errorf("%d older revisions under the key before", n)
	}
	if n := values(r, residue.WAL, "aescbc", before); n != secrets {
		t.Errorf("%d writes in the log under the key before", n)
	}
}

// What is live in an old snapshot says nothing about what is left behind in the etcd of today.
func TestSeveralAreJudgedApart(t *testing.T) {
	m := start(t)
	m.write(t, secretKey(1), plaintext(1))
	m.Stop()
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(m.dir)); err != nil {
		t.Fatal(err)
	}
	m.run(t)
	m.write(t, secretKey(1), sealed(t, "key1"))
	m.Stop()
	r := look(t, m.dir, old)
	for _, c := range r.Counts {
		today := strings.HasPrefix(c.Path, m.dir)
		if c.Resource == "secrets" && c.Provider == "identity" && c.LeftBehind != wantLeft(c, today) {
			t.Errorf("%+v", c)
		}
	}
	if len(r.Steps) == 0 {
		t.Error("nothing is left behind")
	}
}

// A log that is damaged or torn is searched all the same, and only damage is a problem.
func TestDamagedLog(t *testing.T) {
	m := start(t)
	for i := range secrets {
		m.write(t, secretKey(i), plaintext(i))
	}
	m.Stop()
	segments, err := filepath.Glob(filepath.Join(m.dir, "member", "wal", "*.wal"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("%q, %v", segments, err)
	}
	data, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte(canary(secrets/2)))
	data[at] ^= 1
	if err := os.WriteFile(segments[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := residue.Run(t.Context(), residue.Request{Paths: []string{m.dir}, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if n := values(r, residue.WAL, "identity", ""); n != secrets {
		t.Errorf("%d of %d writes were found", n, secrets)
	}
	if !r.Unread() {
		t.Error("the damage is not told")
	}
}

// A name that goes on where another ends is another one, in whichever order they are met.
func TestNameThatGoesOn(t *testing.T) {
	for _, names := range [][2]string{{"key1:old", "key1"}, {"key1", "key1:new"}} {
		m := start(t)
		for _, name := range names {
			for i := range secrets {
				body := bytes.Repeat([]byte{byte(i), 0xff, byte(i >> 4), 0x80}, 30)
				m.write(t, secretKey(i), append([]byte("k8s:enc:secretbox:v1:"+name+":"), body...))
			}
		}
		m.Stop()
		r := look(t, m.dir)
		if n := values(r, residue.Live, "secretbox", names[1]); n != secrets {
			t.Errorf("%q: %d live", names, n)
		}
		var left int64
		for _, c := range r.Counts {
			if c.Place == residue.History && c.Key == names[0] {
				left += c.LeftBehind
			}
		}
		if left != secrets {
			t.Errorf("%q: %d left behind in history", names, left)
		}
	}
}

// A path is a path, and no pattern.
func TestPathWithBrackets(t *testing.T) {
	m := start(t)
	m.write(t, secretKey(1), plaintext(1))
	m.write(t, secretKey(1), sealed(t, "key1"))
	m.Stop()
	odd := filepath.Join(t.TempDir(), "etcd[1]*")
	if err := os.CopyFS(odd, os.DirFS(m.dir)); err != nil {
		t.Fatal(err)
	}
	if n := values(look(t, odd), residue.WAL, "identity", ""); n != 1 {
		t.Errorf("%d in the log", n)
	}
	if err := os.RemoveAll(filepath.Join(odd, "member", "wal")); err != nil {
		t.Fatal(err)
	}
	r, err := residue.Run(t.Context(), residue.Request{Paths: []string{odd}, Now: time.Now})
	if err != nil || !r.Unread() {
		t.Errorf("without its log all seems read, %v", err)
	}
}
