package verify_test

import (
	"testing"

	"github.com/svmctl/svmctl/internal/verify"
)

func TestKMSVerdicts(t *testing.T) {
	check(t, []judged{
		{
			name: "several key IDs, and nobody said which", store: secrets(kmsV2("vault", "kek-1"), kmsV2("vault", "kek-2")),
			expect: []string{"secrets=kms:vault"}, verdict: verify.Indeterminate, reasons: []string{"UnknownKeyID warning secrets 2"},
		},
		{
			name: "several key IDs under any KMS", store: secrets(kmsV2("vault", "kek-1"), kmsV2("vault", "kek-2")),
			expect: []string{"secrets=kms"}, verdict: verify.Indeterminate, reasons: []string{"UnknownKeyID warning secrets 2"},
		},
		{
			name: "several key IDs where '*' names the provider", store: secrets(kmsV2("vault", "kek-1"), kmsV2("vault", "kek-2")),
			expect: []string{"*=kms:vault"}, verdict: verify.Indeterminate, reasons: []string{"UnknownKeyID warning secrets 2"},
		},
		{
			name: "the prefix is right and the key ID is not", store: secrets(kmsV2("vault", "kek-1"), kmsV2("vault", "kek-2")),
			expect: []string{"secrets=kms:vault:kek-2"}, verdict: verify.Incomplete, reasons: []string{"StaleKey error secrets 1"},
		},
		{
			name: "the expected key ID is the beginning of the stored one", store: secrets(kmsV2("vault", "kek-11")),
			expect: []string{"secrets=kms:vault:kek-1"}, verdict: verify.Incomplete, reasons: []string{"StaleKey error secrets 1"},
		},
		{
			name: "the key ID of another provider", store: secrets(kmsV2("other", "kek-2")),
			expect: []string{"secrets=kms:vault:kek-2"}, verdict: verify.Incomplete, reasons: []string{"StaleKey error secrets 1"},
		},
		{
			name: "a key ID is expected of KMS v1, which shows none", store: secrets(kmsV1("vault")),
			expect: []string{"secrets=kms:vault:kek-2"}, verdict: verify.Indeterminate, reasons: []string{"UnknownKeyID warning secrets 1"},
		},
		{
			name: "KMS v1 left over beside v2", store: secrets(kmsV1("vault"), kmsV2("vault", "kek-2")),
			expect: []string{"secrets=kms:vault:kek-2"}, verdict: verify.Indeterminate, reasons: []string{"UnknownKeyID warning secrets 1"},
		},
		{
			name: "a v2 envelope that was cut off", store: secrets(kmsV2("vault", "kek-2")[:40]),
			expect: []string{"secrets=kms:vault"}, verdict: verify.Indeterminate, reasons: []string{"Undecodable warning secrets 1"},
		},
		{
			name: "one key ID of many is stale and one cannot be seen", store: secrets(kmsV1("vault"), kmsV2("vault", "kek-1")),
			expect:  []string{"secrets=kms:vault:kek-2"},
			verdict: verify.Incomplete, reasons: []string{"StaleKey error secrets 1", "UnknownKeyID warning secrets 1"},
		},
		{
			name:    "two resources, of which one has several key IDs",
			store:   secrets(kmsV2("vault", "kek-1"), kmsV2("vault", "kek-2")).and("/registry/configmaps/ns/a", kmsV2("vault", "kek-2")),
			expect:  []string{"secrets=kms:vault", "configmaps=kms:vault"},
			verdict: verify.Indeterminate, reasons: []string{"UnknownKeyID warning configmaps 1", "UnknownKeyID warning secrets 2"},
		},
		{
			name: "several key IDs of which another resource knows", store: secrets(kmsV2("vault", "kek-2")).and("/registry/configmaps/ns/a", kmsV2("vault", "kek-1")),
			expect: []string{"secrets=kms:vault"}, verdict: verify.Complete,
		},
		{
			name:    "each resource has one key ID, and not the same",
			store:   secrets(kmsV2("vault", "kek-1")).and("/registry/configmaps/ns/a", kmsV2("vault", "kek-2")),
			expect:  []string{"*=kms:vault"},
			verdict: verify.Indeterminate, reasons: []string{"UnknownKeyID warning configmaps 1", "UnknownKeyID warning secrets 1"},
		},
		{
			name:    "each resource has one key ID and an expectation of its own",
			store:   secrets(kmsV2("vault", "kek-1")).and("/registry/configmaps/ns/a", kmsV2("vault", "kek-2")),
			expect:  []string{"secrets=kms:vault", "configmaps=kms:vault"},
			verdict: verify.Indeterminate, reasons: []string{"UnknownKeyID warning configmaps 1", "UnknownKeyID warning secrets 1"},
		},
		{
			name: "KMS v1 beside v2 under one name", store: secrets(kmsV1("vault"), kmsV2("vault", "kek-2")),
			expect: []string{"secrets=kms:vault"}, verdict: verify.Indeterminate, reasons: []string{"UnknownKeyID warning secrets 1"},
		},
		{
			name: "one key ID", store: secrets(kmsV2("vault", "kek-2"), kmsV2("vault", "kek-2")),
			expect: []string{"secrets=kms:vault"}, verdict: verify.Complete,
		},
		{
			name: "the named key ID alone", store: secrets(kmsV2("vault", "kek:2"), kmsV2("vault", "kek:2")),
			expect: []string{"secrets=kms:vault:kek:2"}, verdict: verify.Complete,
		},
		{
			name: "several key IDs, any cipher is expected", store: secrets(kmsV2("vault", "kek-1"), kmsV2("vault", "kek-2")),
			expect: []string{"secrets=encrypted"}, verdict: verify.Complete,
		},
	})
}

// A rotation inside a KMS v1 plugin leaves no trace in etcd: a report on such values has to say so.
func TestKMSV1IsSaidToShowNoKEK(t *testing.T) {
	for _, expect := range []string{"secrets=kms:vault", "secrets=kms", "*=kms:vault"} {
		check(t, []judged{{
			name: expect, store: secrets(kmsV1("vault"), kmsV1("vault")),
			expect: []string{expect}, verdict: verify.Indeterminate, reasons: []string{"UnknownKeyID warning secrets 2"},
		}})
	}
}
