package webhook

import (
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/yaml"
)

func TestConfigurationNamesResources(t *testing.T) {
	data, err := Configuration{
		Name:          "a.svmctl.dev",
		URL:           "https://127.0.0.1:1234/",
		CABundle:      []byte("bundle"),
		Resources:     []string{"secrets", "deployments.apps"},
		FailurePolicy: "Fail",
	}.YAML()
	if err != nil {
		t.Fatal(err)
	}
	var config admissionregistrationv1.ValidatingWebhookConfiguration
	if err := yaml.UnmarshalStrict(data, &config); err != nil {
		t.Fatal(err)
	}
	hook := config.Webhooks[0]
	if got := *hook.ClientConfig.URL; got != "https://127.0.0.1:1234/validate" {
		t.Errorf("url is %s", got)
	}
	if string(hook.ClientConfig.CABundle) != "bundle" {
		t.Errorf("bundle is %q", hook.ClientConfig.CABundle)
	}
	for i, want := range [][2]string{{"", "secrets"}, {"apps", "deployments"}} {
		rule := hook.Rules[i]
		if rule.APIGroups[0] != want[0] || rule.Resources[0] != want[1] {
			t.Errorf("rule %d is %v %v, want %v", i, rule.APIGroups, rule.Resources, want)
		}
	}
}

func TestConfigurationRefusesUnknownPolicy(t *testing.T) {
	if _, err := (Configuration{FailurePolicy: "fail"}).YAML(); err == nil {
		t.Error("a failure policy that Kubernetes does not know was taken")
	}
}
