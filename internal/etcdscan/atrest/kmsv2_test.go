package atrest_test

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2"
	kmstypes "k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2/v2"

	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
)

const kmsv2Prefix = "k8s:enc:kms:v2:vault:"

// What is read as an encrypted object is one to the apiserver, with the same keyID.
func checkKMSv2(t *testing.T, body []byte) {
	t.Helper()
	v := atrest.Parse(append([]byte(kmsv2Prefix), body...))
	if v.Fault != "" {
		if v.Encryption.KeyID != "" {
			t.Fatal("a keyID and a fault")
		}
		return
	}
	var object kmstypes.EncryptedObject
	if err := proto.Unmarshal(body, &object); err != nil {
		t.Fatal(err)
	}
	// Annotation names alone are not checked for being domain names.
	object.Annotations = nil
	if err := kmsv2.ValidateEncryptedObject(&object); err != nil {
		t.Fatal(err)
	}
	if v.Encryption.KeyID != atrest.ShowKeyID(object.KeyID) {
		t.Fatalf("keyID %q", v.Encryption.KeyID)
	}
}

func kmsv2Objects() map[string]*kmstypes.EncryptedObject {
	object := func(change func(*kmstypes.EncryptedObject)) *kmstypes.EncryptedObject {
		o := &kmstypes.EncryptedObject{
			EncryptedData: bytes.Repeat([]byte{0xa5}, 100), KeyID: "kek-2", EncryptedDEKSource: []byte("dek"),
			EncryptedDEKSourceType: kmstypes.EncryptedDEKSourceType_HKDF_SHA256_XNONCE_AES_GCM_SEED,
		}
		change(o)
		return o
	}
	return map[string]*kmstypes.EncryptedObject{
		"usual": object(func(*kmstypes.EncryptedObject) {}),
		"longest": object(func(o *kmstypes.EncryptedObject) {
			o.KeyID, o.EncryptedDEKSource = strings.Repeat("k", 1024), make([]byte, 1024)
		}),
		"annotations":      object(func(o *kmstypes.EncryptedObject) { o.Annotations = map[string][]byte{"a.b": make([]byte, 32<<10-3)} }),
		"no keyID":         object(func(o *kmstypes.EncryptedObject) { o.KeyID = "" }),
		"long keyID":       object(func(o *kmstypes.EncryptedObject) { o.KeyID = strings.Repeat("k", 1025) }),
		"no data key":      object(func(o *kmstypes.EncryptedObject) { o.EncryptedDEKSource = nil }),
		"long data key":    object(func(o *kmstypes.EncryptedObject) { o.EncryptedDEKSource = make([]byte, 1025) }),
		"no data":          object(func(o *kmstypes.EncryptedObject) { o.EncryptedData = nil }),
		"short data":       object(func(o *kmstypes.EncryptedObject) { o.EncryptedData = make([]byte, 59) }),
		"unknown source":   object(func(o *kmstypes.EncryptedObject) { o.EncryptedDEKSourceType = 2 }),
		"many annotations": object(func(o *kmstypes.EncryptedObject) { o.Annotations = map[string][]byte{"a.b": make([]byte, 32<<10)} }),
		"empty annotation": object(func(o *kmstypes.EncryptedObject) { o.Annotations = map[string][]byte{"": []byte("x")} }),
	}
}

func TestKMSv2(t *testing.T) {
	good := map[string]bool{"usual": true, "longest": true, "annotations": true}
	for name, object := range kmsv2Objects() {
		body, err := proto.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		checkKMSv2(t, body)
		v := atrest.Parse(append([]byte(kmsv2Prefix), body...))
		if good[name] && v.Encryption.KeyID != object.KeyID || !good[name] && v.Fault != atrest.FaultKMSv2Frame {
			t.Errorf("%s: %+v, fault %q", name, v.Encryption, v.Fault)
		}
		if !good[name] {
			continue
		}
		// The annotations and the source type may be left out. Cut off exactly in front of them it is an encrypted object still.
		optional := proto.Clone(object).(*kmstypes.EncryptedObject)
		optional.Annotations, optional.EncryptedDEKSourceType = nil, 0
		for n := range min(len(body), 300) {
			if v := atrest.Parse([]byte(kmsv2Prefix + string(body[:n]))); v.Fault == "" && n != proto.Size(optional) {
				t.Errorf("%s: %d of %d bytes: %+v", name, n, len(body), v.Encryption)
			}
		}
	}
}

func FuzzKMSv2(f *testing.F) {
	for _, object := range kmsv2Objects() {
		body, err := proto.Marshal(object)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(checkKMSv2)
}
