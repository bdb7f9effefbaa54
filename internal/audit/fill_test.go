package audit_test

import (
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
)

const opsPerTxn = 5000

func manyOps(cfg *embed.Config) { cfg.MaxTxnOps = opsPerTxn }

func secretKey(i int) string { return fmt.Sprintf("/registry/secrets/ns/%06d", i) }

// fill puts n keys into an etcd that was started with manyOps.
func fill(t *testing.T, server *etcdtest.Server, n int, keyValue func(int) (string, string)) {
	t.Helper()
	var ops []clientv3.Op
	for i := range n {
		k, v := keyValue(i)
		if ops = append(ops, clientv3.OpPut(k, v)); len(ops) < opsPerTxn && i < n-1 {
			continue
		}
		if _, err := server.Client.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
		ops = ops[:0]
	}
}
