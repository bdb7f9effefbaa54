package conversion

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

func TestFillsInTheWebhook(t *testing.T) {
	manifest, err := os.ReadFile(filepath.Join("..", "..", "testdata", "crd", "selfierequests-v1-v2.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := CRD(manifest, "https://127.0.0.1:1234/", []byte("bundle"))
	if err != nil {
		t.Fatal(err)
	}
	var got, want apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(data, &got); err != nil {
		t.Fatal(err)
	}
	if config := got.Spec.Conversion.Webhook.ClientConfig; *config.URL != "https://127.0.0.1:1234/crdconvert" || string(config.CABundle) != "bundle" || config.Service != nil {
		t.Errorf("client configuration is %+v", config)
	}
	if err := yaml.UnmarshalStrict(manifest, &want); err != nil {
		t.Fatal(err)
	}
	got.Spec.Conversion.Webhook.ClientConfig, want.Spec.Conversion.Webhook.ClientConfig = nil, nil
	gotData, err := yaml.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	wantData, err := yaml.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(gotData, wantData) {
		t.Errorf("more changed than the webhook:\n%s\nwant\n%s", gotData, wantData)
	}
	if bytes.Contains(data, []byte("status:")) {
		t.Errorf("a manifest with a status:\n%s", data)
	}
}

func TestFillsInNothingElse(t *testing.T) {
	for _, test := range []struct{ manifest, want string }{
		{"kind: Secret\napiVersion: v1\n", "found v1 Secret"},
		{"apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a.b}\nspec: {conversion: {strategy: None}}\n", "a.b: conversion strategy is not Webhook"},
		{"apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nspec: {conversion: {strategy: Webhook, conversionReviewVersions: [v1]}}\n", "conversionReviewVersions"},
		{"a: [", "parsing CustomResourceDefinition"},
	} {
		if _, err := CRD([]byte(test.manifest), "https://127.0.0.1:1", nil); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: error is %v, want %s", test.manifest, err, test.want)
		}
	}
}
