package verify_test

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// noise is n bytes that no key name could hold, so that it never looks like more of one. Each seed makes its own.
func noise(n int, seed byte) string {
	return strings.Repeat(string([]byte{0x80 | seed, 0xff, 0x00, 0xfe}), n/4+1)[:n]
}

func aescbc(key string, seed byte) string { return "k8s:enc:aescbc:v1:" + key + ":" + noise(48, seed) }
func aesgcm(key string, seed byte) string { return "k8s:enc:aesgcm:v1:" + key + ":" + noise(60, seed) }
func secretbox(key string) string         { return "k8s:enc:secretbox:v1:" + key + ":" + noise(60, 0) }
func kmsV1(provider string) string {
	return "k8s:enc:kms:v1:" + provider + ":\x00\x04\xf1\xf2\xf3\xf4" + noise(60, 0)
}

func kmsV2(provider, keyID string) string {
	var b []byte
	for number, field := range []string{1: noise(60, 0), 2: keyID, 3: noise(40, 1)} {
		if number > 0 {
			b = protowire.AppendTag(b, protowire.Number(number), protowire.BytesType)
			b = protowire.AppendString(b, field)
		}
	}
	return "k8s:enc:kms:v2:" + provider + ":" + string(b)
}

// plain is an object as an apiserver stores it in JSON.
func plain(apiVersion, kind, namespace, name string) string {
	return fmt.Sprintf(`{"kind":%q,"apiVersion":%q,"metadata":{"name":%q,"namespace":%q}}`, kind, apiVersion, name, namespace)
}

func plainSecret(name string) string { return plain("v1", "Secret", "ns", name) }

// secrets puts values under /registry/secrets/ns/a, b, c and so on.
func secrets(values ...string) store {
	s := make(store)
	for i, v := range values {
		s[fmt.Sprintf("/registry/secrets/ns/%c", 'a'+i)] = v
	}
	return s
}

func (s store) and(key, value string) store {
	s[key] = value
	return s
}
