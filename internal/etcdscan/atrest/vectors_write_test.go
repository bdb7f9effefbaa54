package atrest_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"encoding/base64"
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apiserver/pkg/storage/value"
	aestransformer "k8s.io/apiserver/pkg/storage/value/encrypt/aes"
	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2"
	kmstypes "k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2/v2"
	"k8s.io/apiserver/pkg/storage/value/encrypt/secretbox"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write testdata/vectors anew, with new random nonces")

const vectorsDir = "../../../testdata/vectors"

// testKey encrypts the vectors. It protects nothing.
var testKey = []byte("svmctl test vectors, no secret!!")

// headers are the header lines of a vector, in order.
type headers []string

func (h headers) and(more ...string) headers { return slices.Concat(h, headers(more)) }

// TestWriteVectors writes the vectors when asked to. Ciphertext comes from the apiserver's own transformers.
func TestWriteVectors(t *testing.T) {
	if !*update {
		t.Skip("vectors are written with -update")
	}
	write := func(name string, h headers, value []byte) {
		t.Helper()
		file := append([]byte(strings.Join(h, "\n")+"\n\n"), value...)
		if err := os.WriteFile(filepath.Join(vectorsDir, name), file, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	encrypt := func(prefix string, transformer value.Transformer) []byte {
		t.Helper()
		for {
			body, err := transformer.TransformToStorage(context.Background(), secretPayload(t), value.DefaultContext(secretKey))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(body[:min(len(body), 64)], []byte(":")) { // no accident in a file that stays
				return append([]byte(prefix), body...)
			}
		}
	}
	block, err := aes.NewCipher(testKey)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := aestransformer.NewGCMTransformer(block)
	if err != nil {
		t.Fatal(err)
	}
	cbc, box := aestransformer.NewCBCTransformer(block), secretbox.NewSecretboxTransformer([32]byte(testKey))

	secret := headers{"root: /registry", "key: " + secretKey, "expect-object: - secrets default db"}
	config := headers{"root: /registry", "key: /registry/configmaps/default/settings", "expect-object: - configmaps default settings"}
	custom := headers{"root: /kubernetes.io", "key: /kubernetes.io/stable.example.com/selfierequests/default/s", "expect-object: stable.example.com selfierequests default s"}
	identity := []string{"expect-provider: identity"}
	claims := func(provider, version, name string) []string {
		return []string{"expect-provider: " + provider, "expect-provider-version: " + version, "expect-key-name: " + name, "expect-stored: opaque"}
	}
	inside := []string{"secret: " + base64.StdEncoding.EncodeToString(testKey), "expect-inside: v1 Secret protobuf"}

	write("identity-protobuf", secret.and("comment: as kubeadm stores it without an EncryptionConfiguration").and(identity...).and("expect-stored: v1 Secret protobuf"), secretPayload(t))
	write("identity-json", custom.and("comment: a custom resource").and(identity...).and("expect-stored: stable.example.com/v1 SelfieRequest json"), customPayload(t, "json"))
	write("identity-cbor", custom.and("comment: a custom resource with CBOR storage").and(identity...).and("expect-stored: stable.example.com/v1 SelfieRequest cbor"), customPayload(t, "cbor"))
	write("identity-yaml", custom.and("comment: --storage-media-type=application/yaml").and(identity...).and("expect-stored: stable.example.com/v1 SelfieRequest yaml"), customPayload(t, "yaml"))
	write("identity-protobuf-truncated", secret.and("comment: the last byte is missing").and(identity...).and("expect-stored: error: malformed protobuf"), secretPayload(t)[:len(secretPayload(t))-1])
	write("identity-protobuf-prefix-alone", secret.and("comment: nothing behind the protobuf prefix").and(identity...).and("expect-stored: error: malformed protobuf"), []byte("k8s\x00"))
	write("identity-json-trailing", custom.and("comment: one object and a second one").and(identity...).and("expect-stored: error: malformed JSON"), append(customPayload(t, "json"), "{}"...))
	write("identity-json-truncated", custom.and("comment: cut off in the middle").and(identity...).and("expect-stored: error: malformed JSON"), customPayload(t, "json")[:100])
	write("identity-json-case", config.and("comment: field names are case-sensitive").and(identity...).and("expect-stored: error: no apiVersion and kind"), []byte(`{"APIVersion":"v1","Kind":"ConfigMap","metadata":{"name":"settings","namespace":"default"}}`))
	write("identity-cbor-trailing", custom.and("comment: a byte behind the map").and(identity...).and("expect-stored: error: malformed CBOR"), append(customPayload(t, "cbor"), 0))
	write("identity-yaml-second-document", custom.and("comment: a document that a reader of the first one would not see").and(identity...).and("expect-stored: error: malformed YAML"), append(customPayload(t, "yaml"), "---\nkind: Other\n"...))
	write("identity-garbage", secret.and("comment: binary garbage").and(identity...).and("expect-stored: error: neither protobuf, JSON, CBOR nor YAML"), []byte("\x9c\x00\xff\xfe{\x01k8s:enc:aescbc:v1:key1:\x7f"))
	write("identity-text", config.and("comment: text that is no object").and(identity...).and("expect-stored: error: neither protobuf, JSON, CBOR nor YAML"), []byte("super-secret-value\n"))
	write("identity-reserved-prefix-cut", secret.and("comment: not the reserved prefix, so the identity provider would hand it out").and(identity...).and("expect-stored: error: neither protobuf, JSON, CBOR nor YAML"), []byte("k8s:enc"))
	write("identity-reserved-prefix-upper", secret.and("comment: prefixes are case-sensitive").and(identity...).and("expect-stored: error: neither protobuf, JSON, CBOR nor YAML"), []byte("K8S:ENC:aescbc:v1:key1:0123456789abcdef0123456789abcdef"))
	write("empty", secret.and("comment: a key without value").and(identity...).and("expect-fault: empty value", "expect-stored: error: empty payload"), nil)

	unknown := secret.and("expect-provider: unknown", "expect-fault: unknown transformer behind the reserved prefix k8s:enc:", "expect-stored: opaque")
	write("unknown-nothing", unknown.and("comment: the reserved prefix alone"), []byte("k8s:enc:"))
	write("unknown-provider", unknown.and("comment: a provider that no release has"), []byte("k8s:enc:chacha:v1:key1:0123456789abcdef0123456789abcdef"))
	write("unknown-version", unknown.and("comment: a version that no release has"), []byte("k8s:enc:aescbc:v2:key1:0123456789abcdef0123456789abcdef"))
	write("unknown-kms-version", unknown.and("comment: a version that no release has"), []byte("k8s:enc:kms:v3:vault:0123456789abcdef0123456789abcdef"))
	write("unknown-upper", unknown.and("comment: provider names are case-sensitive"), []byte("k8s:enc:AESCBC:v1:key1:0123456789abcdef0123456789abcdef"))
	write("unknown-no-version", unknown.and("comment: cut off before the version's end"), []byte("k8s:enc:aescbc:v1"))
	write("unknown-twice", unknown.and("comment: the prefix in front of itself"), []byte("k8s:enc:k8s:enc:aescbc:v1:key1:0123456789abcdef0123456789abcdef"))

	noName := secret.and("expect-fault: no printable key name behind the transformer prefix", "expect-stored: opaque")
	write("name-unterminated", noName.and("comment: no ':' behind the name", "expect-provider: aescbc", "expect-provider-version: v1"), []byte("k8s:enc:aescbc:v1:key1"))
	write("name-missing", noName.and("comment: nothing behind the prefix", "expect-provider: secretbox", "expect-provider-version: v1"), []byte("k8s:enc:secretbox:v1:"))
	write("name-empty", noName.and("comment: names are not empty", "expect-provider: aesgcm", "expect-provider-version: v1"), []byte("k8s:enc:aesgcm:v1::\x01\x02345678901234567890123456789012345"))
	write("name-binary", noName.and("comment: a control character in front of the first ':'", "expect-provider: aescbc", "expect-provider-version: v1"), []byte("k8s:enc:aescbc:v1:key\x011:0123456789abcdef0123456789abcdef"))
	write("name-long", noName.and("comment: longer than any name that is looked for", "expect-provider: aescbc", "expect-provider-version: v1"), []byte("k8s:enc:aescbc:v1:"+strings.Repeat("n", 254)+":0123456789abcdef0123456789abcdef"))
	write("name-empty-kms", noName.and("comment: names are not empty", "expect-provider: kms", "expect-provider-version: v2"), []byte("k8s:enc:kms:v2::\n\x01x"))

	write("aescbc", secret.and("comment: the usual case").and(claims("aescbc", "v1", "key1")...).and(inside...), encrypt("k8s:enc:aescbc:v1:key1:", cbc))
	write("aesgcm", secret.and("comment: the usual case").and(claims("aesgcm", "v1", "key1")...).and(inside...), encrypt("k8s:enc:aesgcm:v1:key1:", gcm))
	write("secretbox", secret.and("comment: the usual case").and(claims("secretbox", "v1", "key1")...).and(inside...), encrypt("k8s:enc:secretbox:v1:key1:", box))
	write("aescbc-k3s", secret.and("comment: a name of k3s; no other length leaves whole blocks").and(claims("aescbc", "v1", "aescbckey-2022-04-21T23:01:02-07:00")...).and("expect-inferred: true").and(inside...), encrypt("k8s:enc:aescbc:v1:aescbckey-2022-04-21T23:01:02-07:00:", cbc))
	write("secretbox-k3s", secret.and("comment: a name of k3s; the length does not settle it").and(claims("secretbox", "v1", "secretboxkey-2025-04-21T23:01:02Z")...).and("expect-inferred: true", "expect-ends: 26 29").and(inside...), encrypt("k8s:enc:secretbox:v1:secretboxkey-2025-04-21T23:01:02Z:", box))
	write("aescbc-chance", secret.and("comment: a ':' in the ciphertext, as one value in 160 has it; the length settles it").and(claims("aescbc", "v1", "key1")...).and("expect-inferred: true"), []byte("k8s:enc:aescbc:v1:key1:ab:"+strings.Repeat("\xa5", 29)))
	write("aesgcm-chance", secret.and("comment: a ':' in the ciphertext; one value alone cannot tell it from a name").and(claims("aesgcm", "v1", "key1:ab")...).and("expect-inferred: true", "expect-ends: 4"), []byte("k8s:enc:aesgcm:v1:key1:ab:"+strings.Repeat("\xa5", 60)))
	write("aescbc-empty", secret.and("comment: nothing behind the name").and(claims("aescbc", "v1", "key1")...).and("expect-fault: ciphertext length is impossible for aescbc"), []byte("k8s:enc:aescbc:v1:key1:"))
	write("aescbc-iv-alone", secret.and("comment: an IV and no block").and(claims("aescbc", "v1", "key1")...).and("expect-fault: ciphertext length is impossible for aescbc"), []byte("k8s:enc:aescbc:v1:key1:"+strings.Repeat("\xa5", 16)))
	write("aescbc-truncated", secret.and("comment: the last byte is missing").and(claims("aescbc", "v1", "key1")...).and("expect-fault: ciphertext length is impossible for aescbc"), []byte("k8s:enc:aescbc:v1:key1:"+strings.Repeat("\xa5", 63)))
	write("aesgcm-short", secret.and("comment: no room for nonce and tag").and(claims("aesgcm", "v1", "key1")...).and("expect-fault: ciphertext length is impossible for aesgcm"), []byte("k8s:enc:aesgcm:v1:key1:"+strings.Repeat("\xa5", 27)))
	write("secretbox-short", secret.and("comment: no room for nonce and tag").and(claims("secretbox", "v1", "key1")...).and("expect-fault: ciphertext length is impossible for secretbox"), []byte("k8s:enc:secretbox:v1:key1:"+strings.Repeat("\xa5", 39)))

	dek := strings.Repeat("\xd0", 58)
	frame := string(binary.BigEndian.AppendUint16(nil, uint16(len(dek)))) + dek
	write("kms-v1", secret.and("comment: the data key's length, the encrypted data key, AES-GCM").and(claims("kms", "v1", "vault")...), encrypt("k8s:enc:kms:v1:vault:"+frame, gcm))
	write("kms-v1-colon", secret.and("comment: KMS v1 names may hold ':'; no other end leaves an envelope").and(claims("kms", "v1", "vault:prod:eu")...).and("expect-inferred: true"), encrypt("k8s:enc:kms:v1:vault:prod:eu:"+frame, gcm))
	write("kms-v1-frame", secret.and("comment: the data key is said to be longer than the value").and(claims("kms", "v1", "vault")...).and("expect-fault: no KMS v1 envelope behind the provider name"), []byte("k8s:enc:kms:v1:vault:\x7f\x00"+dek))
	kms := func(keyID string, seed bool) []byte { return encryptKMSv2(t, keyID, seed) }
	write("kms-v2", secret.and("comment: a key derived from a seed, as every release since 1.29 does it").and(claims("kms", "v2", "vault")...).and("expect-key-id: arn:aws:kms:eu-central-1:111122223333:key/kek-2"), kms("arn:aws:kms:eu-central-1:111122223333:key/kek-2", true))
	write("kms-v2-dek", secret.and("comment: the data key itself, as 1.28 did it").and(claims("kms", "v2", "vault")...).and("expect-key-id: 1"), kms("1", false))
	write("kms-v2-binary-key-id", secret.and("comment: a keyID that no terminal should see").and(claims("kms", "v2", "vault")...).and("expect-key-id: hex:1b5b6b656b"), kms("\x1b[kek", true))
	whole := kms("kek-2", true)
	write("kms-v2-truncated", secret.and("comment: cut off within the encrypted object").and(claims("kms", "v2", "vault")...).and("expect-fault: no KMS v2 encrypted object behind the provider name"), whole[:len(whole)-1])
	write("kms-v2-trailing", secret.and("comment: a byte behind the encrypted object").and(claims("kms", "v2", "vault")...).and("expect-fault: no KMS v2 encrypted object behind the provider name"), append(bytes.Clone(whole), 0))
	write("kms-v2-no-key-id", secret.and("comment: an encrypted object without keyID").and(claims("kms", "v2", "vault")...).and("expect-fault: no KMS v2 encrypted object behind the provider name"), []byte("k8s:enc:kms:v2:vault:\x0a\x3c"+strings.Repeat("\xa5", 60)+"\x1a\x01d\x28\x01"))
	write("kms-v2-colon", secret.and("comment: KMS v2 names hold no ':', so the rest is not read as a name").and(claims("kms", "v2", "vault")...).and("expect-fault: no KMS v2 encrypted object behind the provider name"), bytes.Replace(whole, []byte("vault:"), []byte("vault:prod:"), 1))

	write("key-compact-revision", headers{"root: /registry", "key: compact_rev_key", "comment: outside every storage root", "expect-note: compaction record of the apiservers", "expect-stored: error: neither protobuf, JSON, CBOR nor YAML"}.and(identity...), []byte("4711"))
	write("key-master-lease", headers{"root: /registry", "key: /registry/masterleases/192.0.2.7", "comment: an Endpoints object that no API serves", "expect-note: lease of an apiserver's endpoint", "expect-stored: v1 Endpoints protobuf"}.and(identity...), encode(t, &runtime.Unknown{Raw: []byte("\n\x00")}, "Endpoints"))
	write("key-range", headers{"root: /registry", "key: /registry/ranges/serviceips", "comment: no API serves it", "expect-note: allocated addresses or ports", "expect-stored: v1 RangeAllocation protobuf"}.and(identity...), encode(t, &runtime.Unknown{Raw: []byte("\n\x00")}, "RangeAllocation"))
	write("key-unknown-directory", headers{"root: /registry", "key: /registry/frobs/default/f", "comment: a resource of a later release, perhaps", "expect-note: unknown resource directory", "expect-stored: v1 Frob json"}.and(identity...), []byte(`{"kind":"Frob","apiVersion":"v1","metadata":{"name":"f","namespace":"default"}}`+"\n"))
	write("key-openshift", headers{"root: /openshift.io", "key: /openshift.io/oauth/clients/console", "comment: OpenShift's own directories", "expect-object: oauth.openshift.io oauthclients - console", "expect-stored: oauth.openshift.io/v1 OAuthClient json"}.and(identity...), []byte(`{"kind":"OAuthClient","apiVersion":"oauth.openshift.io/v1","metadata":{"name":"console"}}`+"\n"))
}

const secretKey = "/registry/secrets/default/db"

func encode(t testing.TB, object runtime.Object, kind string) []byte {
	t.Helper()
	object.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: kind})
	var b bytes.Buffer
	if err := protobuf.NewSerializer(nil, nil).Encode(object, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func secretPayload(t testing.TB) []byte {
	return encode(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "db", Namespace: "default", UID: "7f3c9a52-0000-4000-8000-000000000001"},
		Data:       map[string][]byte{"password": []byte("not a secret")},
		Type:       corev1.SecretTypeOpaque,
	}, "Secret")
}

func customPayload(t testing.TB, encoding string) []byte {
	t.Helper()
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "stable.example.com/v1", "kind": "SelfieRequest",
		"metadata": map[string]any{"name": "s", "namespace": "default", "uid": "7f3c9a52-0000-4000-8000-000000000002"},
		"spec":     map[string]any{"foo": "one"},
	}}
	var b bytes.Buffer
	var err error
	switch encoding {
	case "json":
		err = unstructured.UnstructuredJSONScheme.Encode(object, &b)
	case "cbor":
		err = cbor.NewSerializer(runtime.NewScheme(), runtime.NewScheme()).Encode(object, &b)
	case "yaml":
		var y []byte
		y, err = yaml.Marshal(object)
		b.Write(y)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// encryptKMSv2 writes an encrypted object under the provider vault.
func encryptKMSv2(t testing.TB, keyID string, seed bool) []byte {
	t.Helper()
	block, err := aes.NewCipher(testKey)
	if err != nil {
		t.Fatal(err)
	}
	transformer, err := aestransformer.NewGCMTransformer(block)
	source := kmstypes.EncryptedDEKSourceType_AES_GCM_KEY
	if seed {
		transformer, err = aestransformer.NewHKDFExtendedNonceGCMTransformer(testKey)
		source = kmstypes.EncryptedDEKSourceType_HKDF_SHA256_XNONCE_AES_GCM_SEED
	}
	if err != nil {
		t.Fatal(err)
	}
	state := func() (kmsv2.State, error) {
		return kmsv2.State{
			Transformer: transformer, EncryptedObjectKeyID: keyID, EncryptedObjectEncryptedDEKSource: bytes.Repeat([]byte{0xd0}, 58),
			EncryptedObjectEncryptedDEKSourceType: source, EncryptedObjectAnnotations: map[string][]byte{"version.encryption.example.com": []byte("1")},
			ExpirationTimestamp: metav1.Now().Add(1 << 40), KMSProviderName: "vault", CacheKey: []byte("test"),
		}, nil
	}
	body, err := kmsv2.NewEnvelopeTransformer(nil, "vault", state, "").TransformToStorage(context.Background(), secretPayload(t), value.DefaultContext(secretKey))
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte("k8s:enc:kms:v2:vault:"), body...)
}
