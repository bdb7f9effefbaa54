package audit_test

import (
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
)

// Nothing is left out of the sum, and nothing is counted twice.
func TestGroupsAddUpToWhatEtcdCounts(t *testing.T) {
	values := variety()
	server := startWith(t, values)
	server.Put(t, "/registryfoo/secrets/ns/sibling", plain("v1", "Secret", "ns", "sibling"))
	server.Put(t, "compact_rev_key", "1")
	before := server.Revision(t)
	req := request(t, open(t, server), "secrets=aescbc:key2")
	req.Prefixes = []string{"/registry"}
	report := run(t, req)

	if now := server.Revision(t); now != before {
		t.Errorf("the audit moved etcd from revision %d to %d", before, now)
	}
	counted := count(t, server, "/registry/")
	if report.Totals.Keys != counted || counted != int64(len(values)) {
		t.Errorf("%d keys, etcd counts %d, %d were put", report.Totals.Keys, counted, len(values))
	}
	var keys, bytes, size int64
	for _, g := range report.Groups {
		keys += g.Objects
		bytes += g.Bytes
	}
	for _, v := range values {
		size += int64(len(v))
	}
	if keys != report.Totals.Keys || bytes != report.Totals.Bytes || bytes != size {
		t.Errorf("the groups add up to %d keys and %d bytes, the totals are %+v, %d bytes were put", keys, bytes, report.Totals, size)
	}
	if report.Source.Revision != before || report.Source.ClusterID == "" || !report.Scope.Whole || report.Scope.Found {
		t.Errorf("%+v %+v", report.Source, report.Scope)
	}
	if report.Scope.Outside == nil || *report.Scope.Outside != 2 {
		t.Errorf("2 keys lie outside, the report says %v", report.Scope.Outside)
	}
}

func count(t *testing.T, server *etcdtest.Server, prefix string) int64 {
	t.Helper()
	resp, err := server.Client.Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return resp.Count
}

// groupTuple is what tells one group of the report from another.
type groupTuple struct {
	root, group, resource, atRest, stored, opened, note string
	authenticated                                       bool
}

func tupleOf(g audit.Group) groupTuple {
	tuple := groupTuple{root: g.Root, group: g.Group, resource: g.Resource, opened: string(g.Opened), note: g.Note, authenticated: g.Authenticated,
		atRest: string(g.AtRest.Provider) + "/" + g.AtRest.Version + "/" + g.AtRest.Key + "/" + g.AtRest.KeyID}
	if g.Stored != nil {
		tuple.stored = g.Stored.APIVersion + "/" + g.Stored.Kind + "/" + string(g.Stored.Encoding)
	}
	return tuple
}

func TestGroupsAreDistinct(t *testing.T) {
	report := run(t, request(t, open(t, startWith(t, variety())), "*=aescbc:key2"))
	objects := make(map[groupTuple]int64)
	for _, g := range report.Groups {
		if objects[tupleOf(g)] != 0 {
			t.Errorf("two groups are %+v", tupleOf(g))
		}
		objects[tupleOf(g)] = g.Objects
	}
	for want, n := range map[groupTuple]int64{
		{root: "/registry", resource: "secrets", atRest: "aescbc/v1/key1/", opened: "notTried"}:                                                                                     1,
		{root: "/registry", resource: "secrets", atRest: "aescbc/v1/key2/", opened: "notTried"}:                                                                                     2,
		{root: "/registry", resource: "secrets", atRest: "identity///", stored: "v1/Secret/json", opened: "verified"}:                                                               1,
		{root: "/registry", resource: "secrets", atRest: "identity///", stored: "v1/Secret/json", opened: "failed"}:                                                                 1,
		{root: "/registry", resource: "secrets", atRest: "unknown///", opened: "notTried"}:                                                                                          1,
		{root: "/registry", resource: "nodes", atRest: "identity///", stored: "v1/Node/json", opened: "verified"}:                                                                   1,
		{root: "/registry", group: "apps", resource: "deployments", atRest: "identity///", stored: "apps/v1/Deployment/json", opened: "verified"}:                                   1,
		{root: "/registry", group: "apps", resource: "deployments", atRest: "identity///", stored: "extensions/v1beta1/Deployment/json", opened: "verified"}:                        1,
		{root: "/registry", atRest: "aescbc/v1/key1/", opened: "notTried", note: "wrong number of segments for its directory"}:                                                      2,
		{root: "/registry", atRest: "identity///", stored: "new/v1/Novelty/json", opened: "notTried", note: "unknown resource directory"}:                                           1,
		{root: "/registry", atRest: "identity///", opened: "notTried", note: "lease of an apiserver's endpoint"}:                                                                    1,
		{root: "/registry", atRest: "identity///", stored: "v1/RangeAllocation/json", opened: "notTried", note: "allocated addresses or ports"}:                                     1,
		{root: "/registry", group: "stable.example.com", resource: "selfierequests", atRest: "identity///", stored: "stable.example.com/v1/SelfieRequest/json", opened: "verified"}: 1,
	} {
		if objects[want] != n {
			t.Errorf("%d objects are %+v, want %d", objects[want], want, n)
		}
	}
}

// More distinct key names than any cluster has can only be made up. They may cost their names, but not the sum.
func TestMadeUpNamesAreStillCounted(t *testing.T) {
	const n = 25_000
	server := etcdtest.Start(t, manyOps)
	fill(t, server, n, func(i int) (string, string) {
		return secretKey(i), aescbc("key-" + secretKey(i)[len("/registry/secrets/ns/"):])
	})
	report := run(t, request(t, open(t, server), "secrets=aescbc:key-000000"))
	var keys int64
	for _, g := range report.Groups {
		keys += g.Objects
	}
	if keys != n || report.Totals.Keys != n || report.Verdict.String() != "Incomplete" {
		t.Errorf("%d keys in groups, %d in total, %v", keys, report.Totals.Keys, report.Verdict)
	}
	var findings int64
	for _, err := range report.Findings() {
		if err != nil {
			t.Fatal(err)
		}
		findings++
	}
	if findings != report.FindingCount || findings != n-1 {
		t.Errorf("%d findings, the report counts %d, want %d", findings, report.FindingCount, n-1)
	}
}
