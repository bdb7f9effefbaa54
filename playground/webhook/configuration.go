package webhook

import (
	"fmt"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// timeoutSeconds keeps a webhook that does not answer from holding up a test.
const timeoutSeconds = 5

// Configuration describes a ValidatingWebhookConfiguration.
type Configuration struct {
	// Name is that of the object and of the webhook in it; it needs three parts, as a.example.dev.
	Name string
	// URL is that of the server, without a path.
	URL string
	// CABundle verifies the server.
	CABundle []byte
	// Resources are plurals with their group, as secrets or deployments.apps.
	Resources []string
	// FailurePolicy is Fail or Ignore: what a server that does not answer means.
	FailurePolicy string
}

// YAML returns the object as kubectl takes it. The webhook is asked about each UPDATE.
func (c Configuration) YAML() ([]byte, error) {
	policy := admissionregistrationv1.FailurePolicyType(c.FailurePolicy)
	if policy != admissionregistrationv1.Fail && policy != admissionregistrationv1.Ignore {
		return nil, fmt.Errorf("failure policy %q: want Fail or Ignore", c.FailurePolicy)
	}
	url := strings.TrimSuffix(c.URL, "/") + Path
	noSideEffects := admissionregistrationv1.SideEffectClassNone
	timeout := int32(timeoutSeconds)
	hook := admissionregistrationv1.ValidatingWebhook{
		Name:                    c.Name,
		ClientConfig:            admissionregistrationv1.WebhookClientConfig{URL: &url, CABundle: c.CABundle},
		FailurePolicy:           &policy,
		SideEffects:             &noSideEffects, // else the apiserver refuses dryRun=All
		TimeoutSeconds:          &timeout,
		AdmissionReviewVersions: []string{"v1"},
	}
	for _, resource := range c.Resources {
		plural, group, _ := strings.Cut(resource, ".")
		hook.Rules = append(hook.Rules, admissionregistrationv1.RuleWithOperations{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Update},
			Rule: admissionregistrationv1.Rule{
				APIGroups: []string{group}, APIVersions: []string{"*"}, Resources: []string{plural},
			},
		})
	}
	data, err := yaml.Marshal(admissionregistrationv1.ValidatingWebhookConfiguration{
		TypeMeta:   metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "ValidatingWebhookConfiguration"},
		ObjectMeta: metav1.ObjectMeta{Name: c.Name},
		Webhooks:   []admissionregistrationv1.ValidatingWebhook{hook},
	})
	if err != nil {
		return nil, fmt.Errorf("encoding webhook configuration: %w", err)
	}
	return data, nil
}
