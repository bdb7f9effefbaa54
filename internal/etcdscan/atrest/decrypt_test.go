package atrest_test

import (
	"context"
	"crypto/aes"
	"encoding/base64"
	"testing"

	"k8s.io/apiserver/pkg/storage/value"
	aestransformer "k8s.io/apiserver/pkg/storage/value/encrypt/aes"
	"k8s.io/apiserver/pkg/storage/value/encrypt/secretbox"

	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/testdata/vectors"
)

// TestVectorsDecrypt opens the vectors with the apiserver's transformers: the body is cut where the ciphertext begins.
func TestVectorsDecrypt(t *testing.T) {
	opened := 0
	for _, c := range vectors.Load(t) {
		if c.Headers["secret"] == "" {
			continue
		}
		opened++
		secret, err := base64.StdEncoding.DecodeString(c.Headers["secret"])
		if err != nil {
			t.Fatal(err)
		}
		block, err := aes.NewCipher(secret)
		if err != nil {
			t.Fatal(err)
		}
		v := atrest.Parse(c.Value)
		var transformer value.Transformer
		switch v.Encryption.Provider {
		case atrest.AESCBC:
			transformer = aestransformer.NewCBCTransformer(block)
		case atrest.AESGCM:
			if transformer, err = aestransformer.NewGCMTransformer(block); err != nil {
				t.Fatal(err)
			}
		case atrest.Secretbox:
			transformer = secretbox.NewSecretboxTransformer([32]byte(secret))
		}
		payload, _, err := transformer.TransformFromStorage(context.Background(), v.Body(v.Encryption), value.DefaultContext(c.Headers["key"]))
		if err != nil {
			t.Errorf("%s: %v", c.File, err)
			continue
		}
		if got := describeStored(payload); got != c.Headers["expect-inside"] {
			t.Errorf("%s: %s", c.File, got)
		}
	}
	if opened < 5 {
		t.Errorf("%d vectors opened", opened)
	}
}
