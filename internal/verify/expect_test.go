package verify_test

import (
	"reflect"
	"testing"

	"github.com/svmctl/svmctl/internal/verify"
)

func TestParseValue(t *testing.T) {
	for text, want := range map[string]verify.Value{
		"identity":                   {Provider: "identity"},
		"encrypted":                  {Provider: "encrypted"},
		"aescbc":                     {Provider: "aescbc"},
		"aescbc:key2":                {Provider: "aescbc", Key: "key2"},
		"aescbc:key:with:colons":     {Provider: "aescbc", Key: "key:with:colons"},
		"aesgcm:key:":                {Provider: "aesgcm", Key: "key:"},
		"secretbox:" + k3sNew:        {Provider: "secretbox", Key: k3sNew},
		"kms":                        {Provider: "kms"},
		"kms:vault":                  {Provider: "kms", Key: "vault"},
		"kms:vault:kek-2":            {Provider: "kms", Key: "vault", KeyID: "kek-2"},
		"kms:vault:arn:aws:kms:1234": {Provider: "kms", Key: "vault", KeyID: "arn:aws:kms:1234"},
	} {
		got, err := verify.ParseValue(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", text, got, err, want)
		}
		if got.String() != text {
			t.Errorf("%q is written as %q", text, got)
		}
	}
	for _, text := range []string{
		"", ":", "key2", "AESCBC:key2", "aes:key2", "unknown", "unknown:key2", "aescbc:", "kms:", "kms::kek", "kms:vault:",
		"identity:", "identity:key2", "encrypted:", "encrypted:key2",
	} {
		if v, err := verify.ParseValue(text); err == nil {
			t.Errorf("%q is taken for %+v", text, v)
		}
	}
}

func TestParseResource(t *testing.T) {
	for text, want := range map[string]verify.Resource{
		"secrets":                           {Name: "secrets"},
		"deployments":                       {Group: "apps", Name: "deployments"},
		"deployments.apps":                  {Group: "apps", Name: "deployments"},
		"deployments.extensions":            {Group: "apps", Name: "deployments"}, // they lie in one directory
		"events.events.k8s.io":              {Name: "events"},
		"ingresses.extensions":              {Group: "networking.k8s.io", Name: "ingresses"},
		"selfierequests.stable.example.com": {Group: "stable.example.com", Name: "selfierequests"},
		"secrets.example.com":               {Group: "example.com", Name: "secrets"},
		"widgets":                           {Name: "widgets"},
		"*":                                 verify.AnyResource,
	} {
		got, err := verify.ParseResource(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", ".apps", "deployments.", "a b", "ns/secrets", "secrets*"} {
		if r, err := verify.ParseResource(text); err == nil {
			t.Errorf("%q is taken for %+v", text, r)
		}
	}
}

func TestParseExpectations(t *testing.T) {
	got, err := verify.ParseExpectations(
		[]string{"secrets=aescbc:key=2", "*=encrypted", "secrets=aescbc:key=2"},
		[]string{"deployments.apps=apps/v1", "secrets=v1"})
	want := verify.Expectations{
		{Resource: verify.Resource{Name: "secrets"}, Value: verify.Value{Provider: "aescbc", Key: "key=2"}, Version: "v1", From: verify.FromFlag},
		{Resource: verify.AnyResource, Value: verify.Value{Provider: "encrypted"}, From: verify.FromFlag},
		{Resource: verify.Resource{Group: "apps", Name: "deployments"}, Version: "apps/v1", From: verify.FromFlag},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for name, arguments := range map[string][2][]string{
		"two keys for one resource":               {{"secrets=aescbc:key1", "secrets=aescbc:key2"}, nil},
		"two keys for one resource by two names":  {{"deployments=aescbc:key1", "deployments.apps=aescbc:key2"}, nil},
		"two keys for one directory by two names": {{"deployments.extensions=aescbc:key1", "deployments.apps=aescbc:key2"}, nil},
		"two versions for one resource":           {nil, []string{"secrets=v1", "secrets=v2"}},
		"no resource":                             {{"=aescbc:key1"}, nil},
		"no value":                                {{"secrets="}, nil},
		"no equals sign":                          {{"secrets"}, nil},
		"no version":                              {nil, []string{"secrets="}},
		"an unknown provider":                     {{"secrets=rot13:key1"}, nil},
	} {
		if es, err := verify.ParseExpectations(arguments[0], arguments[1]); err == nil {
			t.Errorf("%s: %+v", name, es)
		}
	}
}
