package page_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/evidence"
)

func at(hour, minute, second int) time.Time {
	return time.Date(2026, 3, 14, hour, minute, second, 0, time.UTC)
}

func digest(of string) string {
	return strings.Repeat(fmt.Sprintf("%x", of+"0123456789abcdef"), 4)[:64]
}

func ptr[T any](v T) *T { return &v }

var limitations = []evidence.Limitation{
	{ID: "L1", Text: "It speaks of the stated revision of etcd; what was written later is not covered."},
	{ID: "L2", Text: "That a value is encrypted is known by the prefix that the apiserver writes before it. Whoever may write to etcd can forge a prefix; only values that were opened are known to be what they say."},
	{ID: "L3", Text: "The prefix of aescbc, aesgcm and secretbox holds the name of a key. If a name was given to new material, this cannot be seen. Under KMS v1 it holds the name of the plugin alone."},
	{ID: "L4", Text: "An algorithm is not a validated module: the FIPS 140 status is to be shown elsewhere. aescbc does not protect integrity."},
	{ID: "L5", Text: "Not covered are old revisions before compaction, free pages, the write-ahead log, snapshots and backups, other etcd clusters, and copies of Secrets elsewhere."},
	{ID: "L6", Text: "How keys are made, kept, used by people and destroyed is to be seen in the logs of the KMS or HSM. Keys of local providers lie in a file on the control-plane nodes."},
	{ID: "L7", Text: "It was made by those who run the cluster. An auditor should watch it being made, or make it again; VERIFY.md shows how."},
}

var notCovered = []string{
	"etcd's write-ahead log and free pages", "snapshots and backups", "the nodes' file systems and the kubelet", "the inside of the KMS", "the memory of the apiservers",
}

var statements = []string{
	"Every object that is expected to be encrypted is encrypted.",
	"Each of them is encrypted with the key that is expected to write.",
	"No live object of any resource needs the key aescbc:key1.",
	"Every running apiserver has loaded the same EncryptionConfiguration.",
	"Since it was loaded every apiserver has written with the expected key alone.",
	"The rotation from aescbc:key1 to kms:vault is finished.",
	"etcd's history no longer holds values under the key aescbc:key1.",
	"Free pages, the write-ahead log, snapshots and backups hold no value under the key aescbc:key1.",
}

// controls are those of the claim, and one that svmctl does not know.
func controls(claim string) []string {
	ids := []string{"HOUSE-RULES:7"}
	for _, c := range evidence.Controls() {
		if slices.Contains(c.Claims, claim) {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

func claims(results string, why map[int][]string) []evidence.Claim {
	var out []evidence.Claim
	for i, statement := range statements {
		c := evidence.Claim{
			ID: fmt.Sprintf("SVM-E%d", i+1), Statement: statement, Why: why[i+1],
			Basis: []string{"every key under the prefixes, at one revision", "etcd's own count"}, Limitations: []string{"L1", "L2", "L5"}, Controls: controls(fmt.Sprintf("SVM-E%d", i+1)),
		}
		c.Result = map[byte]evidence.Result{'p': evidence.Pass, 'f': evidence.Fail, 'i': evidence.Inconclusive}[results[i]]
		out = append(out, c)
	}
	return out
}

func cluster() evidence.Cluster {
	return evidence.Cluster{
		Label: "prod-eu-1", KubeSystemNamespaceUID: "5b7e9f0c-3c0e-4d0e-9a51-2f6f0d1f7a10", KubernetesVersion: "v1.37.2", EtcdClusterID: "c8730d66636ff140",
		EtcdMembers: []evidence.Member{
			{ID: "8e9e05c52164694d", Name: "cp-1", Answered: true, Version: "3.7.3", Leader: true}, {ID: "91bc3c398fb3c146", Name: "cp-2", Answered: true, Version: "3.7.3"},
			{ID: "fd422379fda50e48", Name: "cp-3", Answered: true, Version: "3.7.3"},
		},
	}
}

func tool() evidence.Tool {
	return evidence.Tool{
		Name: "svmctl", Version: "v1.1.0", GitCommit: "a0b5b33c1f0b1a4c24d060d0ebc0ca44f5ba59aa", GoVersion: "go1.26.8", BinarySHA256: digest("binary"),
		Arguments: []string{"audit", "--evidence", "--encryption-provider-config", "/etc/kubernetes/enc.yaml", "--reconcile-api"},
	}
}

func keyHash(of string) string { return "sha256:" + digest(of) }

// passing is a rotation to a KMS that went well, signed.
func passing() *evidence.Document {
	group := func(resource string, provider atrest.Provider, version, key, id string, n int64) audit.Group {
		return audit.Group{Root: "/registry", Resource: resource, AtRest: atrest.Encryption{Provider: provider, Version: version, Key: key, KeyID: id}, Objects: n}
	}
	population := []evidence.Population{
		{Resource: "secrets", Provider: "kms", Version: "v2", Key: "vault", KeyIDHash: keyHash("kek-7"), State: evidence.StateOK, Objects: 1843, Opened: 1843, Expected: true},
		{Resource: "configmaps", Provider: "kms", Version: "v2", Key: "vault", KeyIDHash: keyHash("kek-7"), State: evidence.StateOK, Objects: 612, Opened: 612, Expected: true},
		{Resource: "oauthclients.oauth.example.com", Provider: "kms", Version: "v2", Key: "vault", KeyIDHash: keyHash("kek-7"), State: evidence.StateOK, Objects: 1, Opened: 1, Expected: true},
		{Resource: "pods", Provider: "identity", State: evidence.StateNotJudged, Objects: 2210},
		{Resource: "leases.coordination.k8s.io", Provider: "identity", State: evidence.StateNotJudged, Objects: 87},
		{Resource: "events", Provider: "identity", State: evidence.StateNotJudged, Objects: 18422},
	}
	scan := &evidence.Scan{
		APIVersion: evidence.APIVersion, Kind: "EvidenceScan", ID: "0f8c2f3e-7f25-5d8a-9d43-7a3a7c1f5e11", Tool: tool(),
		Actor: evidence.Actor{
			OSUser: "mira", Host: "cp-1.prod-eu-1.example.com", EtcdUser: "",
			Kubernetes:     &evidence.KubernetesUser{Username: "mira@example.com", UID: "1042", Groups: []string{"platform", "system:authenticated"}},
			EtcdClientCert: &evidence.ClientCert{Subject: "CN=svmctl-reader", Issuer: "CN=etcd-ca", Serial: "4f2a", SHA256: digest("cert"), NotAfter: at(9, 0, 0).AddDate(1, 0, 0)},
			CI:             &evidence.ContinuousBuild{Provider: "GitLab", RunURL: "https://git.example.com/platform/etcd/-/jobs/88121"},
		},
		Time: evidence.Time{
			StartedAt: at(15, 9, 27), FinishedAt: at(15, 9, 32).Add(400 * time.Millisecond), Clock: "local",
			Corroboration: []evidence.Corroboration{{Source: "Date header of https://10.0.0.11:6443", At: at(15, 9, 31), SkewMS: 212}},
		},
		Cluster: cluster(), Claims: claims("ppppppii", map[int][]string{
			7: {"etcd's history was not read"}, 8: {"no snapshot, no copy of a data directory and no word of the operator was given"},
		}),
		Scope: evidence.Scope{
			Statement: "All keys under /registry/ of the etcd that is named here.", Prefixes: []string{"/registry/"}, Resources: []string{"configmaps", "oauthclients.oauth.example.com", "secrets"},
			NotJudged: []evidence.NotJudged{
				{Resource: "events", Objects: 18422, Plaintext: 18422, Why: "the EncryptionConfiguration does not name it"},
				{Resource: "pods", Objects: 2210, Plaintext: 2210, Why: "the EncryptionConfiguration does not name it"},
				{Resource: "leases.coordination.k8s.io", Objects: 87, Plaintext: 87, Why: "the EncryptionConfiguration does not name it"},
			},
			NotCovered: notCovered,
		},
		AsOf: evidence.AsOf{Revision: 4_821_337, Later: &evidence.Later{HeadRevision: 4_821_391, Writes: 4}},
		Completeness: evidence.Completeness{
			Read: 23175, Counted: 23175, Whole: true, Outside: ptr(int64(1)),
			API: &evidence.Reconciliation{
				Method: "LIST of metadata, resourceVersionMatch=Exact", Revision: 4_821_337, Match: true,
				Resources: []evidence.Reconciled{{Resource: "configmaps", InEtcd: 612, InAPI: 612}, {Resource: "oauthclients.oauth.example.com", InEtcd: 1, InAPI: 1}, {Resource: "secrets", InEtcd: 1843, InAPI: 1843}},
			},
		},
		Population: population,
		Merkle:     evidence.Merkle{Algorithm: "rfc6962-sha256", LeafFormat: "svmctl-record-v1", TreeSize: 23175, Root: digest("root")},
		Redaction:  evidence.Redaction{Mode: evidence.Names}, Limitations: limitations,
		Previous: &evidence.Previous{SHA256: digest("previous"), Revision: 4_640_002, ScannedAt: at(3, 0, 0).AddDate(0, -1, 0)},
		Audit:    &audit.Report{},
	}
	var servers []evidence.APIServer
	for i := range 3 {
		servers = append(servers, evidence.APIServer{
			Address: fmt.Sprintf("10.0.0.%d:6443", 11+i), Hostname: fmt.Sprintf("cp-%d", 1+i), Identity: fmt.Sprintf("apiserver-%s", digest("id")[i:i+26]), Version: "v1.37.2", Answered: true, MetricsRead: true,
			EncryptionConfig: keyHash("config"), StartedAt: at(13, 58, 2), LoadedAt: at(14, 41, 7), KMSKeyIDs: map[string]string{"vault": keyHash("kek-7")}, EtcdPrefix: "/registry",
			Flags: map[string]string{"encryption-provider-config": "/etc/kubernetes/enc.yaml", "encryption-provider-config-automatic-reload": "true"},
			Writes: []evidence.Operations{
				{Resource: "secrets", Prefix: "k8s:enc:kms:v2:vault:", Status: "OK", Count: int64(2000 / (i + 1))}, {Resource: "configmaps", Prefix: "k8s:enc:kms:v2:vault:", Status: "OK", Count: int64(700 / (i + 1))},
			},
		})
	}
	return &evidence.Document{
		Scan: scan,
		APIServers: &evidence.APIServers{
			Asked: true, Expected: keyHash("config"), Known: 3, Counted: true, Answered: 3, Agree: ptr(true), OverridesKnown: true, Servers: servers,
		},
		Migration: &evidence.Migration{
			Report: map[string]any{
				"verdict": "Complete", "backend": "patch", "rounds": 2, "startedAt": at(14, 52, 10), "finishedAt": at(14, 57, 48),
				"targets": []map[string]any{
					{"resource": "secrets", "value": "kms:vault", "from": "config"}, {"resource": "configmaps", "value": "kms:vault", "from": "config"},
				},
				"outcomes": map[string]any{"rewritten": 2391, "alreadyCurrent": 44, "changedByOthers": 18, "deleted": 2},
				"settled":  map[string]any{"seconds": 30, "writes": 12, "late": 0},
				"snapshot": map[string]any{"path": "/var/backups/etcd/before-rotation.db", "sha256": digest("snapshot")},
			},
			Before: &audit.Report{
				Source: audit.Source{Revision: 4_815_200},
				Groups: []audit.Group{
					group("configmaps", atrest.Identity, "", "", "", 398), group("configmaps", "aescbc", "v1", "key1", "", 214), group("secrets", "aescbc", "v1", "key1", "", 1801),
					group("secrets", "kms", "v2", "vault", keyHash("kek-7"), 44), group("pods", atrest.Identity, "", "", "", 2209),
				},
			},
			After: &audit.Report{
				Source: audit.Source{Revision: 4_821_337},
				Groups: []audit.Group{
					group("configmaps", "kms", "v2", "vault", keyHash("kek-7"), 612), group("secrets", "kms", "v2", "vault", keyHash("kek-7"), 1843), group("pods", atrest.Identity, "", "", "", 2210),
				},
			},
		},
		Files:  []string{"SHA256SUMS", "VERIFY.md", "apiservers.json", "migration.json", "records.jsonl.gz", "report.html", "report.md", "scan.json", "signing-key.pub", "statement.json", "statement.sigstore.json"},
		Signer: &evidence.Signer{Algorithm: "ECDSA P-256", Fingerprint: "SHA256:" + digest("public")},
	}
}

// failing has plaintext, an exception that has expired, an apiserver that does not answer, and no signature.
func failing() *evidence.Document {
	d := passing()
	s := d.Scan
	d.Migration, d.Signer = nil, nil
	d.Files = []string{"SHA256SUMS", "VERIFY.md", "apiservers.json", "exceptions.json", "records.jsonl.gz", "report.html", "report.md", "scan.json", "statement.json"}
	s.Claims = claims("ffpiippi", map[int][]string{
		1: {"3 secrets are unencrypted: secrets in namespace payments", "1 configmap is unencrypted, and its exception EX-7 has expired"},
		2: {"37 secrets are encrypted under aescbc:key1, and kms:vault is expected"},
		4: {"10.0.0.13:6443 did not answer"}, 5: {"10.0.0.13:6443 did not answer", "10.0.0.12:6443 has no metrics: forbidden"}, 8: {"nobody looked"},
	})
	s.Claims[0].Exceptions = []string{"EX-7", "EX-12"}
	s.Population = []evidence.Population{
		{Resource: "secrets", Provider: "kms", Version: "v2", Key: "vault", KeyIDHash: keyHash("kek-7"), State: evidence.StateOK, Objects: 998_103, Opened: 100, Expected: true},
		{Resource: "secrets", Provider: "aescbc", Version: "v1", Key: "key1", State: evidence.StateStale, Objects: 1_894, Expected: true},
		{Resource: "secrets", Provider: "identity", State: evidence.StatePlaintext, Objects: 3, Opened: 3, Expected: true},
		{Resource: "configmaps", Provider: "kms", Version: "v2", Key: "vault", KeyIDHash: keyHash("kek-7"), State: evidence.StateOK, Objects: 590, Opened: 100, Expected: true},
		{Resource: "configmaps", Provider: "identity", State: evidence.StatePlaintext, Exception: "EX-7", Objects: 1, Opened: 1, Expected: true},
		{Resource: "configmaps", Provider: "aescbc", Version: "v1", Key: "key1", State: evidence.StateStale, Exception: "EX-12", Objects: 20, Expected: true},
		{Resource: "oauthclients.oauth.example.com", Provider: "unknown", State: evidence.StateUnknown, Objects: 1, Expected: true},
		{Resource: "oauthclients.oauth.example.com", Provider: "secretbox", Version: "v1", Key: "box", State: evidence.StateOK, Objects: 4, Expected: true},
		{Resource: "events", Provider: "identity", State: evidence.StateNotJudged, Objects: 184_220},
		{Resource: "pods", Provider: "identity", State: evidence.StateNotJudged, Objects: 22_100},
	}
	s.Scope.Overrides = []string{"events=https://10.0.0.20:2379"}
	s.AsOf.Later = &evidence.Later{HeadRevision: 4_821_391, Writes: 40, Plaintext: 1, OtherKey: 2}
	s.Completeness.API.Match = false
	s.Completeness.API.Resources = []evidence.Reconciled{
		{Resource: "configmaps", InEtcd: 611, InAPI: 612, OnlyInAPI: 1}, {Resource: "oauthclients.oauth.example.com", InEtcd: 5, Problem: "403 Forbidden"}, {Resource: "secrets", InEtcd: 1_000_000, InAPI: 1_000_000},
	}
	s.Cluster.Unknown = []string{"the storage version of member fd422379fda50e48: it did not answer"}
	s.Config = &evidence.Outline{Hash: "sha256:4eeb2dd22819f007c4f0f10177e64ce9b15228ef2610dfa23f7831682a680355", Rules: []evidence.OutlineRule{
		{Resources: []string{"secrets", "configmaps"}, Providers: []string{"aescbc:key2", "aescbc:key1", "identity"}}, {Resources: []string{"*.*"}, Providers: []string{"identity"}}}}
	s.AsOf.ValidUntil = at(0, 0, 0).AddDate(0, 3, 0)
	s.Exceptions = []evidence.ExceptionUse{{ID: "EX-7", Expires: at(0, 0, 0).AddDate(0, 0, -13), Expired: true, Objects: 1}, {ID: "EX-12", Expires: at(0, 0, 0).AddDate(0, 3, 0), Objects: 20}}
	d.Exceptions = &evidence.Exceptions{Exceptions: []evidence.Exception{
		{
			ID: "EX-7", Selector: evidence.Selector{Resource: "configmaps", Namespace: "legacy-*", Codes: []verify.Code{verify.Plaintext}}, Reason: "The importer of the old billing system reads etcd directly, until it is replaced.",
			Approver: "CISO office", Ticket: "SEC-4411", Approved: at(9, 30, 0).AddDate(0, -6, 0), Expires: at(0, 0, 0).AddDate(0, 0, -13), Expired: true, Objects: 1,
		},
		{ID: "EX-12", Selector: evidence.Selector{Resource: "configmaps"}, Reason: "They are rewritten with the next release.", Approver: "R. Okafor", Expires: at(0, 0, 0).AddDate(0, 3, 0), Objects: 20},
	}}
	a := d.APIServers
	a.Answered, a.Agree, a.OverridesKnown = 2, nil, false
	a.Missing, a.Unchecked = []string{"10.0.0.13:6443"}, []string{"EncryptionConfiguration: not told by 1 of 3 apiservers"}
	a.Servers[2] = evidence.APIServer{Address: "10.0.0.13:6443", Identity: a.Servers[2].Identity, Hostname: "cp-3", Problem: "dial tcp 10.0.0.13:6443: connection refused"}
	a.Servers[1].MetricsRead, a.Servers[1].Writes, a.Servers[1].MetricsProblem, a.Servers[1].EncryptionConfig = false, nil, "403 Forbidden", ""
	a.Servers[0].Overrides = []string{"events=https://10.0.0.20:2379"}
	a.Servers[0].Writes = append(a.Servers[0].Writes, evidence.Operations{Resource: "secrets", Prefix: "", Status: "OK", Count: 3})
	d.Keys = map[string]any{
		"canRemove": map[string]any{"key": "aescbc:key1", "answer": "no", "reason": "needed to read 1894 secrets", "after": []string{"old revisions", "snapshots"}},
		"doubts":    []string{"the apiserver at 10.0.0.13:6443 was not asked"},
		"keys": []map[string]any{
			{"provider": "kms", "version": "v2", "key": "vault", "keyIDHash": keyHash("kek-7"), "configured": true, "writes": []string{"secrets", "configmaps"}, "total": 998_693, "removable": "no", "destroyable": "no", "reason": "needed to read 998103 secrets"},
			{"provider": "aescbc", "version": "v1", "key": "key1", "configured": true, "total": 1914, "removable": "no", "destroyable": "no", "reason": "needed to read 1894 secrets, 20 configmaps"},
			{"provider": "aescbc", "version": "v1", "key": "key0", "configured": false, "total": 0, "removable": "unknown", "destroyable": "unknown", "reason": "an apiserver was not asked"},
		},
	}
	s.Audit = &audit.Report{History: &audit.History{Compacted: 4_800_001, Revisions: 21_337, Groups: []audit.OldGroup{
		{Resource: "secrets", AtRest: atrest.Encryption{Provider: "aescbc", Version: "v1", Key: "key1"}, Revisions: 1_894}, {Resource: "secrets", AtRest: atrest.Encryption{Provider: atrest.Identity}, Revisions: 7},
	}}}
	return d
}

// fromFile is a snapshot of 300 resources, with names hidden.
func fromFile() *evidence.Document {
	d := passing()
	s := d.Scan
	d.Migration, d.Signer = nil, nil
	d.APIServers = &evidence.APIServers{Why: "a file was read, and no cluster"}
	d.Files = []string{"SHA256SUMS", "VERIFY.md", "records.jsonl.gz", "report.html", "report.md", "scan.json", "statement.json"}
	s.Actor.Kubernetes, s.Actor.EtcdClientCert, s.Actor.CI, s.Time.Corroboration = nil, nil, nil, nil
	s.Cluster = evidence.Cluster{Unknown: []string{"etcd's cluster ID and members: a file does not tell them", "the version of Kubernetes: a file does not tell it"}, KubeSystemNamespaceUID: s.Cluster.KubeSystemNamespaceUID}
	s.AsOf = evidence.AsOf{Revision: 4_821_337, Snapshot: "/var/backups/etcd/2026-03-14T03-00-00Z.db", SnapshotHash: digest("file"), LaterUnknown: "a file was read, and no running etcd"}
	s.Claims = claims("ppiiiiii", map[int][]string{3: {"other etcds may hold objects"}, 4: {"no apiserver was asked"}, 5: {"no apiserver was asked"}, 6: {"nothing was migrated"}, 7: {"history was not read"}, 8: {"nobody looked"}})
	s.Completeness = evidence.Completeness{Read: 1_300_000, Counted: 1_300_000, Whole: true, APIWhy: "a file was read, and no cluster"}
	s.Redaction = evidence.Redaction{Mode: evidence.HMAC, Algorithm: "HMAC-SHA-256", KeyID: "3f9a1c22"}
	s.Previous = nil
	s.Scope.Statement, s.Scope.NotJudged, s.Population = "All keys under /registry/ of the file.", nil, nil
	s.Scope.Resources = nil
	for i := range 300 {
		resource, n := fmt.Sprintf("resources%03d.group%d.example.com", i, i%7), int64(1)
		for range i % 7 {
			n *= 10
		}
		p := evidence.Population{Resource: resource, Provider: "aesgcm", Version: "v1", Key: fmt.Sprintf("key%d", i%3), State: evidence.StateOK, Objects: n, Expected: true}
		if i%5 == 4 {
			p.Expected, p.State, p.Provider, p.Key = false, evidence.StateNotJudged, "identity", ""
			s.Scope.NotJudged = append(s.Scope.NotJudged, evidence.NotJudged{Resource: resource, Objects: n, Plaintext: n, Why: "the EncryptionConfiguration does not name it"})
		}
		s.Population = append(s.Population, p)
	}
	return d
}

// Names that would make a reader, a browser or a Markdown processor see something else.
const (
	hostileMarkup   = `"><script>alert(1)</script><img src=x onerror=alert(2)>`
	hostileControl  = "name\u202egnp.exe\x1b[31m\x00\u2066\u200b end"
	hostileMarkdown = "a|b`c`\n\n# Verdict: **pass**\n[x](javascript:alert(3)) <b>bold</b> ![i](http://evil.example/i.png) @everyone"
	hostileTemplate = `{{.Secret}}</style></svg><!-- ]]> -->`
)

// hostile is what somebody may do who chooses every name.
func hostile() *evidence.Document {
	d := failing()
	s := d.Scan
	s.Cluster.Label = hostileMarkup
	s.Cluster.KubeSystemNamespaceUID = hostileControl
	s.Cluster.EtcdMembers[0].Name = hostileMarkdown
	s.Scope.NotJudged[0].Resource, s.Scope.NotJudged[1].Resource = hostileMarkup, hostileMarkdown
	s.Scope.Overrides = []string{hostileTemplate, hostileMarkdown}
	s.Scope.Prefixes = []string{hostileControl}
	s.Population[0].Resource, s.Population[0].Key = hostileMarkup, hostileMarkdown
	s.Population[2].Resource = hostileControl
	s.Population[5].KeyIDHash, s.Population[5].Exception = hostileTemplate, hostileMarkup
	s.Actor.OSUser, s.Actor.Host = hostileControl, hostileMarkdown
	s.Actor.Kubernetes.Username = hostileMarkup
	s.Tool.Arguments = []string{hostileMarkup, hostileMarkdown, hostileControl}
	s.Claims[0].Why = []string{hostileMarkup, hostileMarkdown, hostileControl, hostileTemplate}
	s.Claims[1].Result = evidence.Result(`pass" onclick="alert(4)`)
	d.Exceptions.Exceptions[0].ID, d.Exceptions.Exceptions[0].Reason = hostileMarkup, hostileMarkdown
	d.Exceptions.Exceptions[1].Approver = hostileControl
	d.APIServers.Servers[0].Address = hostileMarkup
	d.APIServers.Servers[0].KMSKeyIDs = map[string]string{hostileMarkdown: hostileControl, "b": "c"}
	d.APIServers.Servers[0].Writes[0].Prefix = hostileControl
	d.APIServers.Servers[2].Problem = hostileMarkdown
	d.Files = append(d.Files, hostileMarkup)
	d.Keys.(map[string]any)["keys"].([]map[string]any)[0]["key"], d.Keys.(map[string]any)["doubts"] = hostileMarkdown, []string{hostileMarkup, hostileControl}
	d.Migration = passing().Migration
	d.Migration.Before.Groups[0].Resource, d.Migration.After.Groups[0].AtRest.Key = hostileMarkdown, hostileMarkup
	d.Migration.Report.(map[string]any)["targets"] = []map[string]any{{"resource": "*", "value": hostileControl, "from": hostileMarkup}}
	d.Migration.Report.(map[string]any)["stopped"] = map[string]any{"message": hostileMarkdown, "hint": hostileMarkup}
	d.Migration.NotRewritten = []evidence.Unwritten{{Key: hostileControl, Text: "a webhook refuses", By: hostileMarkup}, {Key: hostileMarkup}}
	for i := range 130 {
		d.Migration.NotRewritten = append(d.Migration.NotRewritten, evidence.Unwritten{Key: fmt.Sprintf("/registry/secrets/shop/basket-%03d", i), Text: "a webhook refuses"})
	}
	d.Migration.Failures = []evidence.FailureCount{{Resource: hostileMarkdown, Code: hostileMarkup, Objects: 132}}
	return d
}
