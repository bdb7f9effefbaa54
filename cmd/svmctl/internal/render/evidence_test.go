package render_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/evidence"
)

// checked is a bundle of which a file was changed, with a sample, compared with etcd.
func checked() *evidence.Verification {
	claims := []evidence.Claim{
		{ID: "SVM-E1", Statement: "At revision 4107 of etcd, all objects of secrets are encrypted.", Result: evidence.Pass, Why: []string{}, Basis: []string{"118 objects"},
			Limitations: []string{"L1"}, Exceptions: []string{"EX-7"}, Controls: []string{"NIST-800-53r5:SC-28(1)"}},
		{ID: "SVM-E2", Statement: "At revision 4107 of etcd, all objects of secrets are under the key that they are expected to be written with.", Result: evidence.Fail,
			Why: []string{"112 secrets under aescbc:key1"}, Basis: []string{}, Limitations: []string{}, Exceptions: []string{}, Controls: []string{}},
		{ID: "SVM-E8", Statement: "Nothing is left.", Result: evidence.Inconclusive, Why: []string{"nobody looked"}, Basis: []string{}, Limitations: []string{}, Exceptions: []string{}, Controls: []string{}},
	}
	return &evidence.Verification{
		APIVersion: audit.APIVersion, Kind: "EvidenceVerification", Bundle: "2026-q4", Verdict: verify.Incomplete,
		Checks: []evidence.Checked{
			{What: "files", Verdict: verify.Complete, Problems: []evidence.Problem{}},
			{What: "sums", Verdict: verify.Incomplete, Problems: []evidence.Problem{{File: "report.html", Message: "it is not what SHA256SUMS says"}}},
			{What: "signature", Verdict: verify.Indeterminate, Problems: []evidence.Problem{{File: "statement.sigstore.json", Message: "--public-key names the key to check it with"}}},
			{What: "records", Verdict: verify.Complete, Problems: []evidence.Problem{}},
		},
		Signature: evidence.SignatureState{Signed: true, Trusted: true, Fingerprint: "SHA256:4a1c94a4b1a7e2e5b9d1a8a5a7b2f4c3d5e6f708192a3b4c5d6e7f8091a2b3c4"},
		Claims:    claims,
		Sample:    &evidence.SampleState{Records: []evidence.SampledRecord{{Index: 17, Key: "/registry/secrets/shop/db", Record: evidence.Record{Version: 1, Key: "/registry/secrets/shop/db", Resource: "secrets", Namespace: "shop", Mod: "41", Create: "40", Writes: "2", Provider: "aescbc", Form: "v1", KeyName: "key2", Opened: "verified", State: evidence.StateOK}}}},
		Changed: &evidence.Changed{SameCluster: true, Then: &evidence.Comparison{Revision: 4107, Same: 159, Named: []string{}},
			Now: evidence.Comparison{Revision: 4200, Same: 150, Rewritten: 8, Created: 1, Deleted: 1, Named: []string{"/registry/secrets/shop/new"}}, PlaintextNow: 1},
		Scan: &evidence.Scan{Cluster: evidence.Cluster{Label: "prod", EtcdClusterID: "cdf818194e3a8c32"}, AsOf: evidence.AsOf{Revision: 4107},
			Time: evidence.Time{StartedAt: time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)}, Merkle: evidence.Merkle{TreeSize: 159}},
	}
}

func renderVerification(t *testing.T, v *evidence.Verification, format render.Format) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := render.Verification(&out, v, options(format)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestVerificationGolden(t *testing.T) {
	for _, format := range []render.Format{render.Table, render.Wide, render.JSON, render.YAML} {
		compareGolden(t, "verification."+string(format), renderVerification(t, checked(), format))
	}
	unsigned := checked()
	unsigned.Signature, unsigned.Sample, unsigned.Changed, unsigned.Verdict = evidence.SignatureState{}, nil, nil, verify.Complete
	unsigned.Checks = unsigned.Checks[:1]
	unsigned.Scan.AsOf.Snapshot, unsigned.Scan.Cluster.Label = "/backup/\x1b[31mold.db", ""
	compareGolden(t, "verification.unsigned.table", renderVerification(t, unsigned, render.Table))
}

// The duplication is the point: these names are a promise.
var verificationFields = []string{
	"apiVersion", "kind", "bundle", "verdict",
	"checks[].what", "checks[].verdict", "checks[].problems[].file", "checks[].problems[].message",
	"signature.signed", "signature.fingerprint", "signature.trusted",
	"claims[].id", "claims[].statement", "claims[].result", "claims[].why[]", "claims[].basis[]", "claims[].limitations[]", "claims[].exceptions[]", "claims[].controls[]",
	"sample", "sample.records[].index", "sample.records[].key",
	"sample.records[].record.v", "sample.records[].record.k", "sample.records[].record.r", "sample.records[].record.g", "sample.records[].record.ns",
	"sample.records[].record.mod", "sample.records[].record.create", "sample.records[].record.ver", "sample.records[].record.p", "sample.records[].record.pv",
	"sample.records[].record.pn", "sample.records[].record.opened", "sample.records[].record.auth", "sample.records[].record.st",
	"changed", "changed.sameCluster", "changed.then", "changed.thenWhy", "changed.plaintextNow", "changed.now.revision", "changed.now.same", "changed.now.rewritten",
	"changed.now.created", "changed.now.deleted", "changed.now.named[]", "changed.then.revision", "changed.then.same", "changed.then.rewritten", "changed.then.created",
	"changed.then.deleted", "changed.then.named[]",
}

func TestVerificationFields(t *testing.T) {
	got := make(map[string]bool)
	fields(got, "", parseJSON(t, renderVerification(t, checked(), render.JSON)))
	bare := checked()
	bare.Sample, bare.Changed = nil, nil
	fields(got, "", parseJSON(t, renderVerification(t, bare, render.JSON)))
	bare.Changed = &evidence.Changed{Now: evidence.Comparison{Named: []string{}}}
	fields(got, "", parseJSON(t, renderVerification(t, bare, render.JSON)))
	bare.Changed.Then = &evidence.Comparison{Named: []string{"a"}}
	fields(got, "", parseJSON(t, renderVerification(t, bare, render.JSON)))
	expectFields(t, got, verificationFields)
}
