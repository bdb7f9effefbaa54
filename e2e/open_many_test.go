package e2e

import (
	"context"
	"crypto/aes"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apiserver/pkg/storage/value"
	aestransformer "k8s.io/apiserver/pkg/storage/value/encrypt/aes"
)

// TestOpenInventsNoKeyNames has so many values under one plain name that chance puts a colon into hundreds of them, where
// a longer name could end.
func TestOpenInventsNoKeyNames(t *testing.T) {
	const count, atOnce = 100_000, 125 // etcd takes 128 operations at once
	p := startPlane(t, "", "--etcd-only")
	material, err := base64.StdEncoding.DecodeString(keyMaterial("key1"))
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(material)
	if err != nil {
		t.Fatal(err)
	}
	// The length of what AES-CBC makes rules out nearly all of the longer names, that of AES-GCM rules out none.
	apiserver, err := aestransformer.NewGCMTransformer(block)
	if err != nil {
		t.Fatal(err)
	}
	inParallel(t, 8, count/atOnce, func(ctx context.Context, batch int) error {
		var puts []clientv3.Op
		for i := range atOnce {
			name := fmt.Sprintf("app-%05d", batch*atOnce+i)
			key, payload := secretsDir+"many/"+name, fmt.Sprintf(`{"kind":"Secret","apiVersion":"v1","metadata":{"name":%q,"namespace":"many"},"data":{"password":%q}}`,
				name, base64.StdEncoding.EncodeToString([]byte(canaryInData)))
			ciphertext, err := apiserver.TransformToStorage(ctx, []byte(payload), value.DefaultContext(key))
			if err != nil {
				return err
			}
			puts = append(puts, clientv3.OpPut(key, "k8s:enc:aesgcm:v1:key1:"+string(ciphertext)))
		}
		_, err := p.etcd.Txn(ctx).Then(puts...).Commit()
		return err
	})
	if err := os.WriteFile(p.config, []byte(encryptionOf([]string{"secrets"}, "aesgcm:key1", "aesgcm:key2")), 0o600); err != nil {
		t.Fatal(err)
	}
	revision := p.revision(t)

	bare := p.svmctl(t, "audit", "--expect", "secrets=aesgcm:key1", "-o", "json")
	bare.wantCode(t, 0)
	report := bare.audit(t)
	if got := report.byKey("secrets"); !maps.Equal(got, map[string]int64{"aesgcm:key1": count}) || len(report.Findings) != 0 {
		t.Errorf("%v, %d findings", got, len(report.Findings))
	}
	if possible := report.reason("AmbiguousKey"); possible.Severity != "info" || possible.Objects < 100 || possible.Objects > 2000 {
		t.Errorf("%+v", possible)
	}

	opened := p.svmctl(t, "audit", "--encryption-provider-config", p.config, "-o", "json")
	opened.wantCode(t, 0)
	report = opened.audit(t)
	if len(report.Groups) != 1 || report.Groups[0].Objects != count || report.Groups[0].Opened != "verified" || !report.Groups[0].Authenticated ||
		report.Groups[0].AtRest != (atRest{Provider: "aesgcm", Version: "v1", Key: "key1"}) {
		t.Errorf("%+v", report.Groups)
	}
	if verdict(report.Verdict) != "Complete" || len(report.Findings) != 0 || report.reason("AmbiguousKey").Code != "" {
		t.Errorf("verdict %s, reasons %+v", verdict(report.Verdict), report.Reasons)
	}
	if now := p.revision(t); now != revision {
		t.Errorf("etcd's revision went from %d to %d", revision, now)
	}
	p.wantNothingLeft(t)
}
