// Package upgrade judges what would become of a cluster if it were given other CustomResourceDefinitions: whether an apiserver
// would accept them, which stored objects would become unreadable, and which fields would be lost. It is pure: definitions and
// payloads are handed to it.
package upgrade

import (
	"context"
	"fmt"
	"strings"
	"unicode"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/svmctl/svmctl/internal/crd"
)

// Code names a kind of problem.
type Code string

const (
	Refused      Code = "Refused"      // the apiserver's validation does not admit the definition
	UnknownField Code = "UnknownField" // apiextensions.k8s.io/v1 has no such field: dropped, or refused where clients are strict
	Terminating  Code = "Terminating"  // the definition in the cluster is being deleted, and its objects with it
)

const maxText = 300 // bytes of what a validation says

// Problem is one thing that is the matter with a definition.
type Problem struct {
	Code    Code
	Field   string // path within the definition, "" where it is the whole
	Message string // the validation's words, one line of at most 300 bytes; may quote the definition
}

func (p Problem) String() string {
	if p.Field == "" {
		return fmt.Sprintf("%s: %s", p.Code, p.Message)
	}
	return fmt.Sprintf("%s: %s: %s", p.Code, p.Field, p.Message)
}

// Compare tells what an apiserver would have against being given next in place of present, the definition of that name in the
// cluster; present is nil where there is none. It is the validation of apiextensions-apiserver v0.37 with its default
// feature gates: another version may be stricter or more lenient. Labels and annotations are taken from next alone. What
// depends on other objects is not looked at: names that another definition has, admission, permission.
func Compare(ctx context.Context, present, next *crd.Definition) ([]Problem, error) {
	doing := "validating CustomResourceDefinition " + next.Name
	object := next.Object()
	if object == nil {
		return nil, fmt.Errorf("%s: its schemas were dropped", doing)
	}
	var problems []Problem
	var found field.ErrorList
	if present == nil {
		prepared, err := internal(object)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", doing, err)
		}
		prepared.Status = apiextensions.CustomResourceDefinitionStatus{}
		store(prepared)
		found = validation.ValidateCustomResourceDefinition(ctx, prepared)
	} else {
		was := present.Object()
		switch {
		case was == nil:
			return nil, fmt.Errorf("%s: the schemas of the one in the cluster were dropped", doing)
		case was.Name != object.Name:
			return nil, fmt.Errorf("%s: compared with %s", doing, was.Name)
		}
		if present.Terminating {
			problems = append(problems, Problem{Code: Terminating, Message: "it is being deleted in the cluster, with all objects"})
		}
		old, err := internal(was)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", doing, err)
		}
		// What an update may not change is the cluster's, as a client that reads before it writes has it.
		replaced := was.DeepCopy()
		replaced.Spec, replaced.Labels, replaced.Annotations = object.Spec, object.Labels, object.Annotations
		prepared, err := internal(replaced)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", doing, err)
		}
		store(prepared)
		found = validation.ValidateCustomResourceDefinitionUpdate(ctx, prepared, old)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, e := range found {
		problems = append(problems, Problem{Code: Refused, Field: oneLine(e.Field), Message: words(e)})
	}
	for _, path := range next.UnknownFields {
		problems = append(problems, Problem{Code: UnknownField, Field: oneLine(path), Message: "not a field of " + apiextensionsv1.SchemeGroupVersion.String()})
	}
	return problems, nil
}

// store is what the apiserver does before it validates: the storage version becomes one of the stored versions. See
// https://github.com/kubernetes/apiextensions-apiserver/blob/v0.37.2/pkg/registry/customresourcedefinition/strategy.go (PrepareForUpdate).
func store(d *apiextensions.CustomResourceDefinition) {
	for _, v := range d.Spec.Versions {
		if v.Storage {
			if !apiextensions.IsStoredVersion(d, v.Name) {
				d.Status.StoredVersions = append(d.Status.StoredVersions, v.Name)
			}
			return
		}
	}
}

// internal takes over the object.
func internal(o *apiextensionsv1.CustomResourceDefinition) (*apiextensions.CustomResourceDefinition, error) {
	var out apiextensions.CustomResourceDefinition
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(o, &out, nil); err != nil {
		return nil, err
	}
	return &out, nil
}

// words shows a value only where it is short, so that the reason is not cut off behind a whole schema.
func words(e *field.Error) string {
	text := e.Type.String()
	if value, ok := e.BadValue.(string); ok && value != "" && len(value) <= 80 {
		text += fmt.Sprintf(" %q", value)
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return oneLine(text)
}

func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText-len("…")], "") + "…"
	}
	return s
}
