package conversion

import (
	"fmt"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// CRD fills the webhook's URL and authority into the manifest of a CustomResourceDefinition
// whose conversion strategy is Webhook. The URL is that of the server, without a path. All else
// stays as the manifest has it, but for comments and order.
func CRD(manifest []byte, url string, caBundle []byte) ([]byte, error) {
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(manifest, &crd); err != nil {
		return nil, fmt.Errorf("parsing CustomResourceDefinition: %w", err)
	}
	if crd.Kind != "CustomResourceDefinition" || crd.APIVersion != apiextensionsv1.SchemeGroupVersion.String() {
		return nil, fmt.Errorf("parsing CustomResourceDefinition: found %s %s", crd.APIVersion, crd.Kind)
	}
	conversion := crd.Spec.Conversion
	if conversion == nil || conversion.Strategy != apiextensionsv1.WebhookConverter || conversion.Webhook == nil {
		return nil, fmt.Errorf("%s: conversion strategy is not Webhook", crd.Name)
	}
	full := strings.TrimSuffix(url, "/") + Path
	conversion.Webhook.ClientConfig = &apiextensionsv1.WebhookClientConfig{URL: &full, CABundle: caBundle}

	// The type writes an empty status, which no manifest has: only the conversion is taken from it.
	var document map[string]any
	if err := yaml.Unmarshal(manifest, &document); err != nil {
		return nil, fmt.Errorf("parsing CustomResourceDefinition: %w", err)
	}
	document["spec"].(map[string]any)["conversion"] = conversion
	data, err := yaml.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("encoding CustomResourceDefinition: %w", err)
	}
	return data, nil
}
