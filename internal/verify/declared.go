package verify

import (
	"slices"

	"github.com/svmctl/svmctl/internal/etcdscan"
)

// Declared is what the API says about the versions of a resource. The zero value says nothing.
type Declared struct {
	// Asked: the API was asked, because somebody wants the objects at the version that it declares.
	Asked bool
	// Reason is what names the version that is expected; empty where a person named it, or nobody did.
	Reason string
	// Served are the apiVersions that the API serves; none if it did not tell.
	Served []string
	// Custom: the resource is declared by a CustomResourceDefinition, which lists in Readable the apiVersions that can
	// be read at all.
	Custom   bool
	Readable []string
	// Named: somebody wants this resource in particular, so that finding none of it needs an explanation.
	Named bool
	// Exhaustive is for AnyResource alone: there is an expectation for each resource that the API serves. Where it was asked
	// and that cannot be said, what has no expectation is unknown.
	Exhaustive bool
}

// With adds what the API declares. What was expected before stays as it is; a version is taken over where there is
// none.
func (es Expectations) With(declared Expectations) Expectations {
	all := slices.Clone(es)
	for _, d := range declared {
		e := all.add(d.Resource)
		if e.Version != "" {
			d.Declared.Reason = ""
		} else if e.Version = d.Version; e.Value == (Value{}) {
			e.From = d.From
		}
		d.Declared.Named = d.Declared.Named || e.Declared.Named
		e.Declared = d.Declared
	}
	return all
}

// unasked tells whether the expectation was made for whatever is found: that there is nothing is no doubt.
func (e Expectation) unasked() bool {
	return e.Declared.Asked && !e.Declared.Named && e.Value == (Value{})
}

// exhaustive tells whether every resource that the API serves has an expectation of its own.
func (es Expectations) exhaustive() bool {
	return slices.ContainsFunc(es, func(e Expectation) bool { return e.Resource == AnyResource && e.Declared.Exhaustive })
}

// orphaned tells whether the API was asked for all its resources and this one is none of them.
func (es Expectations) orphaned(r Resource) bool {
	return es.exhaustive() && !slices.ContainsFunc(es, func(e Expectation) bool { return e.Resource == r && e.Declared.Asked })
}

// judgeVersion compares the apiVersion that objects are stored at with the one expected, and with those that the API
// knows.
func (e Expectation) judgeVersion(g etcdscan.Group) []Fault {
	found := g.Stored.APIVersion
	switch {
	case e.Version == "" && !e.Declared.Asked:
		return nil
	case found == "":
		return []Fault{{Code: NotOpened, Severity: Warning, Expected: e.Version, Found: Describe(g.AtRest),
			Message: "the apiVersion of an encrypted value cannot be seen without opening it"}}
	}
	var faults []Fault
	switch {
	case e.Version == "":
		faults = append(faults, Fault{Code: UnknownVersion, Severity: Warning, Found: found,
			Message: "the API does not tell at which apiVersion it stores this resource"})
	case found != e.Version:
		faults = append(faults, Fault{Code: StaleVersion, Severity: Error, Expected: e.Version, Found: found,
			Message: "stored at another apiVersion than expected"})
	}
	unserved := Fault{Code: UnservedVersion, Severity: Info, Found: found, Message: "stored at an apiVersion that the API does not serve"}
	switch {
	case !e.Declared.Custom && len(e.Declared.Served) == 0 || slices.Contains(e.Declared.Served, found):
	case e.Declared.Custom && !slices.Contains(e.Declared.Readable, found):
		unserved.Severity = Error
		unserved.Message = "stored at an apiVersion that the CustomResourceDefinition does not have: no apiserver can read it"
		faults = append(faults, unserved)
	default:
		faults = append(faults, unserved)
	}
	return faults
}
