// Package preflight asks the apiserver who would have a say in an UPDATE of a resource, before anything is written:
// webhooks and admission policies, and whether those that fail closed can answer. It only reads, and it never dials a
// webhook. What an apiserver takes from files of its own (manifest-based admission, built-in plugins) no API shows.
package preflight

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

const (
	requestTimeout = 10 * time.Second // for the answer to one request, body included
	lookTimeout    = time.Minute      // for all of them
	maxAnswer      = 32 << 20         // bytes of one answer
	pageSize       = 100              // objects of one answer
	maxPages       = 100              // answers of one list
)

// Request names the resource that is to be written. The version is the one that will be sent; Subresource is empty for
// the resource itself.
type Request struct {
	Config      *rest.Config
	Resource    schema.GroupVersionResource
	Kind        string
	Namespaced  bool
	Subresource string
}

// Severity orders notes: the worst is the greatest. The zero value is no severity: nobody looked.
type Severity int

const (
	Info     Severity = iota + 1 // worth knowing
	Warning                      // stands in the way of some objects, or may do so, or could not be looked at
	Blocking                     // stands in the way of every object
)

func (s Severity) String() string {
	switch s {
	case Info:
		return "info"
	case Warning:
		return "warning"
	case Blocking:
		return "blocking"
	}
	return "unknown"
}

// MarshalText gives what String gives.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Code is what a note is about. New ones may be added.
type Code string

const (
	NotRead        Code = "NotRead"        // could not be read, so what it holds is unknown
	NoBackend      Code = "NoBackend"      // the webhook's service is missing, or lacks the port or a ready endpoint
	BackendUnknown Code = "BackendUnknown" // whether somebody answers behind the webhook cannot be known from the API
	NoParameters   Code = "NoParameters"   // a policy refuses for want of its parameters
	Misconfigured  Code = "Misconfigured"  // a policy can never be evaluated as it is, and refuses for that
	TypeWarnings   Code = "TypeWarnings"   // the apiserver doubts that a policy's expressions fit what they are about
	HasSay         Code = "HasSay"         // is asked, and as far as can be seen can answer
	NoDryRun       Code = "NoDryRun"       // the webhook has side effects: the apiserver refuses a dry run on its behalf
	Slow           Code = "Slow"           // may take longer than the usual 10 s for each object
	Nothing        Code = "Nothing"        // everything was read, and nothing has a say
)

// Note is one thing that was found. None of its texts holds anything of an object but its name, the names that it
// refers to, and the host of a URL.
type Note struct {
	Code     Code
	Severity Severity
	Subject  string // kind and name of the object that the note is about; of NotRead: the resource that was not read
	Message  string
}

// Look reads what is registered to be asked about an UPDATE of the resource. The worst notes come first, and the same
// cluster gives the same order. What may not or could not be read is a note of its own; there is always a note, so that
// an empty list means that nobody looked. It takes at most a minute, each request at most 10 s; once ctx is done,
// whatever is left is NotRead.
func Look(ctx context.Context, req Request) []Note {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	l := &look{target: newTarget(req)}
	switch err := l.prepare(req.Config); {
	case err != nil:
		l.notRead("everything", fmt.Sprintf("nothing was read: %v", err))
	case exempt(req):
		// pkg/admission/plugin/webhook/predicates/rules: they could lock themselves in.
	default:
		l.discover(ctx)
		l.webhooks(ctx, kindValidatingWebhooks)
		l.webhooks(ctx, kindMutatingWebhooks)
		l.policies(ctx, kindValidatingPolicies)
		l.policies(ctx, kindMutatingPolicies)
	}
	if len(l.notes) == 0 {
		l.note(Nothing, Info, l.target.String(), "no webhook and no admission policy has a say in an UPDATE of %s", l.target)
	}
	slices.SortFunc(l.notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Subject, b.Subject),
			cmp.Compare(a.Code, b.Code), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(l.notes)
}

// look is the state of one Look.
type look struct {
	reader
	target target
	notes  []Note
}

func (l *look) note(code Code, severity Severity, subject, format string, args ...any) {
	l.notes = append(l.notes, Note{Code: code, Severity: severity, Subject: subject, Message: fmt.Sprintf(format, args...)})
}

func (l *look) notRead(subject, message string) {
	l.note(NotRead, Warning, subject, "%s", message)
}

// exempt tells whether the apiserver asks nobody about the resource: the configuration of admission itself.
func exempt(req Request) bool {
	return req.Resource.Group == admissionv1.GroupName && slices.Contains([]string{
		"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration",
		"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
		"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding",
	}, req.Kind)
}
