package wal

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	etcdwal "go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"

	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
)

var update = flag.Bool("update", false, "write the logs in testdata anew")

// canary is in every value of the fixtures. It must get nowhere.
const canary = "canary-canary"

func fixtureKey(i int) string { return fmt.Sprintf("/registry/secrets/default/s%02d", i) }

func fixtureValue(i int) string {
	return fmt.Sprintf("k8s\x00%s-%02d-%s", canary, i, strings.Repeat("x", i*7%90))
}

// fixtureWrites are those that writeFixture makes, without their indexes.
func fixtureWrites() []write {
	var writes []write
	for i := range 30 {
		writes = append(writes, write{key: fixtureKey(i), value: fixtureValue(i)})
		if i%4 == 3 {
			writes = append(writes, write{key: fixtureKey(i), value: fixtureValue(i) + "-else"})
		}
	}
	return writes
}

// writeFixture puts plainly, by the transactions of an apiserver, and in both branches of one.
func writeFixture(t testing.TB, client *clientv3.Client) {
	t.Helper()
	for i := range 30 {
		key, value := fixtureKey(i), fixtureValue(i)
		var err error
		switch i % 4 {
		case 0:
			_, err = client.Put(t.Context(), key, value)
		case 3:
			_, err = client.Txn(t.Context()).If(clientv3.Compare(clientv3.ModRevision(key), "=", 0)).
				Then(clientv3.OpPut(key, value)).Else(clientv3.OpPut(key, value+"-else")).Commit()
		default:
			_, err = createTxn(t, client, key, value)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.Delete(t.Context(), fixtureKey(0)); err != nil {
		t.Fatal(err)
	}
}

// createTxn writes as the apiserver does.
// https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/storage/etcd3/store.go
func createTxn(t testing.TB, client *clientv3.Client, key, value string) (*clientv3.TxnResponse, error) {
	return client.Txn(t.Context()).If(clientv3.Compare(clientv3.ModRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, value)).Else(clientv3.OpGet(key)).Commit()
}

var fixtures = []string{"etcd-3.4", "etcd-3.7"}

func loadFixture(t testing.TB, name string) fstest.MapFS {
	t.Helper()
	files := make(fstest.MapFS)
	paths, err := filepath.Glob(filepath.Join("testdata", name, "*.wal"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no fixture %s: %v", name, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(path)] = &fstest.MapFile{Data: data}
	}
	return files
}

// loadReal is the fixture of several segments, as etcd has it: with zeros behind the last.
func loadReal(t testing.TB) (files fstest.MapFS, names []string) {
	t.Helper()
	files = loadFixture(t, "etcd-3.7")
	names, err := fs.Glob(files, "*.wal")
	if err != nil || len(names) < 3 {
		t.Fatalf("segments %v: %v", names, err)
	}
	last := files[names[len(names)-1]]
	last.Data = append(last.Data, make([]byte, 4096)...)
	return files, names
}

// segmentSize is for every etcd that the test starts from now on.
func segmentSize(t testing.TB, size int64) {
	before := etcdwal.SegmentSizeBytes
	etcdwal.SegmentSizeBytes = size
	t.Cleanup(func() { etcdwal.SegmentSizeBytes = before })
}

// TestWriteFixtures writes the fixtures when asked to.
func TestWriteFixtures(t *testing.T) {
	if !*update {
		t.Skip("fixtures are written with -update")
	}
	t.Run("etcd-3.7", func(t *testing.T) {
		segmentSize(t, 2048)
		dir := t.TempDir()
		t.Run("write", func(t *testing.T) {
			server := etcdtest.Start(t, func(cfg *embed.Config) {
				cfg.Dir = dir
				// The addresses are in the log.
				cfg.AdvertiseClientUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:2379"}}
				cfg.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:2380"}}
				cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
			})
			writeFixture(t, server.Client)
		})
		saveFixture(t, dir, "etcd-3.7")
	})
	t.Run("etcd-3.4", func(t *testing.T) {
		binary, err := filepath.Abs("../../../bin/etcd-3.4")
		if err != nil {
			t.Fatal(err)
		}
		dir, endpoint, peer := t.TempDir(), freeAddress(t), freeAddress(t)
		cmd := exec.Command(binary, "--data-dir", dir, "--listen-client-urls", endpoint, "--advertise-client-urls", "http://127.0.0.1:2379",
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", "http://127.0.0.1:2380", "--initial-cluster", "default=http://127.0.0.1:2380")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatalf("make bin/etcd-3.4 gets it: %v", err)
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop(), DialTimeout: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		writeFixture(t, client)
		saveFixture(t, dir, "etcd-3.4")
	})
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// saveFixture keeps the segments of a data directory without the zeros at their end, up to the next 8 bytes.
func saveFixture(t *testing.T, dataDir, name string) {
	t.Helper()
	dir := filepath.Join("testdata", name)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(dataDir, "member", "wal", "*.wal"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no segments: %v", err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		used := len(bytes.TrimRight(data, "\x00"))
		data = data[:min(len(data), (used+frameSize-1)&^(frameSize-1))]
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFixtures(t *testing.T) {
	for _, name := range fixtures {
		t.Run(name, func(t *testing.T) {
			files := loadFixture(t, name)
			writes, state := compare(t, files)
			if !state.Complete() || state.Commit == 0 || state.Commit > state.LastIndex || state.Segments != len(files) || len(state.Rest) > 0 {
				t.Errorf("%+v", state)
			}
			var size int64
			for _, f := range files {
				size += int64(len(f.Data))
			}
			if state.Bytes != size {
				t.Errorf("read %d bytes of %d", state.Bytes, size)
			}
			checkWrites(t, writes, fixtureWrites())
		})
	}
}

// checkWrites compares apart from the indexes, which must not fall.
func checkWrites(t testing.TB, got, want []write) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d puts, want %d", len(got), len(want))
	}
	var index uint64
	for i := range got {
		if got[i].key != want[i].key || got[i].value != want[i].value || got[i].index < index || got[i].index == 0 {
			t.Fatalf("put %d of %s at index %d, want %s", i, got[i].key, got[i].index, want[i].key)
		}
		index = got[i].index
	}
}
