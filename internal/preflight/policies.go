package preflight

import (
	"context"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	kindValidatingPolicies = "ValidatingAdmissionPolicy"
	kindMutatingPolicies   = "MutatingAdmissionPolicy"
)

// policy holds the fields of both kinds, in any version, that decide whether it is asked.
type policy struct {
	Metadata object `json:"metadata"`
	Spec     struct {
		ParamKind        *admissionv1.ParamKind         `json:"paramKind"`
		MatchConstraints *admissionv1.MatchResources    `json:"matchConstraints"`
		MatchConditions  []struct{}                     `json:"matchConditions"`
		FailurePolicy    *admissionv1.FailurePolicyType `json:"failurePolicy"`
	} `json:"spec"`
	Status struct {
		TypeChecking struct {
			ExpressionWarnings []struct{} `json:"expressionWarnings"`
		} `json:"typeChecking"`
	} `json:"status"`
}

func (p *policy) failsClosed() bool {
	return p.Spec.FailurePolicy == nil || *p.Spec.FailurePolicy != admissionv1.Ignore
}

// binding puts a policy into force.
type binding struct {
	Metadata object `json:"metadata"`
	Spec     struct {
		PolicyName        string                         `json:"policyName"`
		ParamRef          *admissionv1.ParamRef          `json:"paramRef"`
		MatchResources    *admissionv1.MatchResources    `json:"matchResources"`
		ValidationActions []admissionv1.ValidationAction `json:"validationActions"`
	} `json:"spec"`
}

// policies notes the policies of one kind that are in force for the target.
func (l *look) policies(ctx context.Context, kind string) {
	bindings := make(map[string][]binding) // by policy
	ok := readAdmission(ctx, l, kind+"Binding", func(b binding) {
		bindings[b.Spec.PolicyName] = append(bindings[b.Spec.PolicyName], b)
	})
	if ok && len(bindings) == 0 {
		return // a policy without a binding does nothing
	}
	var matching []policy
	readAdmission(ctx, l, kind, func(p policy) {
		if l.target.matchResources(p.Spec.MatchConstraints) != never {
			matching = append(matching, p)
		}
	})
	for i := range matching {
		p := &matching[i]
		if len(bindings[p.Metadata.Name]) > 0 {
			l.policy(ctx, kind, p, bindings[p.Metadata.Name])
		} else if !ok {
			l.note(HasSay, Info, kind+" "+shown(p.Metadata.Name), "matches an UPDATE of %s; whether a binding puts it into force was not read", l.target)
		}
	}
}

// readAdmission reads all objects of a kind of admissionregistration.k8s.io in the newest version that is served. It
// returns false if there may be some that were not read. An API that is not served has no objects.
func readAdmission[T any](ctx context.Context, l *look, kind string, use func(T)) bool {
	resource := strings.ToLower(kind) + "s"
	if strings.HasSuffix(kind, "Policy") {
		resource = strings.TrimSuffix(strings.ToLower(kind), "y") + "ies"
	}
	name := resource + "." + admissionv1.GroupName
	versions, err := l.versions(ctx, admissionv1.GroupName, resource)
	if err != nil {
		l.notRead(name, "not read: the versions in which it is served are unknown: "+err.Error())
		return false
	}
	var version string
	for _, v := range []string{"v1alpha1", "v1beta1", "v1"} {
		if slices.Contains(versions, v) {
			version = v
		}
	}
	switch {
	case len(versions) == 0:
		return true
	case version == "":
		l.notRead(name, "not read: it is served in no version that is known here")
		return false
	}
	gv := schema.GroupVersion{Group: admissionv1.GroupName, Version: version}
	err = readPages(ctx, &l.reader, acceptJSON, kind+"List", apiPath(gv, resource), nil, func(page []T) bool {
		for _, item := range page {
			use(item)
		}
		return true
	})
	if err != nil {
		l.notRead(name, missing(err, "list", name))
	}
	return err == nil
}

// policy notes how one policy stands, given all its bindings.
func (l *look) policy(ctx context.Context, kind string, p *policy, bindings []binding) {
	subject := kind + " " + shown(p.Metadata.Name)
	m := l.target.matchResources(p.Spec.MatchConstraints)
	kindOfParameters, usable := l.parameterKind(ctx, subject, p, m)
	if !usable {
		return
	}
	widest := never
	for i := range bindings {
		b := &bindings[i]
		bound := min(m, l.target.matchResources(b.Spec.MatchResources))
		if bound == never {
			continue
		}
		if kindOfParameters != nil && b.Spec.ParamRef != nil && p.failsClosed() {
			// Parameters are collected before match conditions are looked at, whatever the actions are.
			l.parameters(ctx, kind, p, b, kindOfParameters, bound)
		}
		if kind == kindMutatingPolicies || slices.Contains(b.Spec.ValidationActions, admissionv1.Deny) {
			widest = max(widest, bound)
		}
	}
	if widest == never {
		return
	}
	if len(p.Spec.MatchConditions) > 0 {
		widest = sometimes
	}
	say := "may refuse"
	if kind == kindMutatingPolicies {
		say = "may change or refuse"
	}
	l.note(HasSay, Info, subject, "%s an UPDATE of %s", say, l.of(widest))
	if n := len(p.Status.TypeChecking.ExpressionWarnings); n > 0 && p.failsClosed() {
		l.note(TypeWarnings, Warning, subject,
			"fails closed, and the apiserver warns of its expressions (%d): an UPDATE of %s is refused where one cannot be evaluated", n, l.of(widest))
	}
}
