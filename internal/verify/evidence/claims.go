package evidence

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/verify"
)

// ClaimIDs are all claims, in their order. What one says does not change: a new one gets a new number.
var ClaimIDs = []string{"SVM-E1", "SVM-E2", "SVM-E3", "SVM-E4", "SVM-E5", "SVM-E6", "SVM-E7", "SVM-E8"}

// case for and against a claim, while it is being judged. Nothing passes that has anything against it.
type judging struct {
	Claim
	against, open []string
}

func (j *judging) fail(format string, a ...any) {
	j.against = append(j.against, fmt.Sprintf(format, a...))
}
func (j *judging) doubt(format string, a ...any) { j.open = append(j.open, fmt.Sprintf(format, a...)) }
func (j *judging) basis(format string, a ...any) {
	j.Basis = append(j.Basis, fmt.Sprintf(format, a...))
}
func (j *judging) covered(ids map[string]bool)   { j.Exceptions = sortedKeys(ids) }
func (j *judging) failing() bool                 { return len(j.against) > 0 }
func (j *judging) unsettled() bool               { return len(j.open) > 0 }
func (j *judging) state(format string, a ...any) { j.Statement = fmt.Sprintf(format, a...) }
func (j *judging) inherit(other *judging) {
	for _, why := range other.open {
		if !slices.Contains(j.open, why) {
			j.open = append(j.open, why)
		}
	}
}
func (j *judging) limitedBy(ids ...string) { j.Limitations = append(j.Limitations, ids...) }

func (j *judging) claim() Claim {
	c := j.Claim
	c.Why = unique(slices.Concat(j.against, j.open))
	switch {
	case j.failing():
		c.Result = Fail
	case j.unsettled():
		c.Result = Inconclusive
	default:
		c.Result = Pass
	}
	for _, list := range []*[]string{&c.Why, &c.Basis, &c.Limitations, &c.Exceptions} {
		if *list == nil {
			*list = []string{}
		}
	}
	c.Controls = controlsOf(c.ID)
	return c
}

// unique leaves each text once, where it stands first.
func unique(texts []string) []string {
	var once []string
	for _, t := range texts {
		if !slices.Contains(once, t) {
			once = append(once, t)
		}
	}
	return once
}

// judge goes over what was observed, claim by claim.
type judge struct {
	*Observed
	recorded *recorded
	expected []string // resources that are expected to be encrypted; empty: all of the API
	where    string   // the beginning of a sentence about the moment
}

// claims judges all of them.
func (o *Observed) claims(r *recorded) []Claim {
	j := &judge{Observed: o, recorded: r, expected: o.expectedResources()}
	j.where = fmt.Sprintf("At revision %d of etcd", o.Report.Source.Revision)
	if o.file() {
		j.where = fmt.Sprintf("In the file with SHA-256 %.12s…, at revision %d", o.Report.Source.SHA256, o.Report.Source.Revision)
	}
	found := j.completeness(among(j.expected))
	encrypted := j.encrypted(found)
	underKey, same := j.underKey(found), j.sameConfiguration()
	claims := []Claim{encrypted.claim(), underKey.claim(), j.noOtherKey(j.completeness(among(nil))).claim(), same.claim(), j.writes(same).claim(),
		j.rotated(underKey, j.completeness(among(j.versioned()))).claim(), j.history(found).claim(), j.residuals(underKey).claim()}
	return claims
}

// expectedResources are those that are expected to be encrypted, as they were named.
func (o *Observed) expectedResources() []string {
	names := []string{}
	for _, e := range o.Report.Judged() {
		if encrypts(e.Value) {
			names = append(names, e.Resource.String())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// versioned are the resources of which an apiVersion is expected, as they were named.
func (j *judge) versioned() []string {
	var names []string
	for _, e := range j.Report.Judged() {
		if e.Version != "" {
			names = append(names, e.Resource.String())
		}
	}
	return names
}

// subject is what a claim speaks of.
func (j *judge) subject() string {
	switch {
	case len(j.expected) == 0 && len(j.Report.Judged()) > 0:
		return "objects that are expected to be encrypted"
	case len(j.expected) == 0:
		return "objects of the API under " + strings.Join(j.Report.Scope.Prefixes, ", ")
	case slices.Contains(j.expected, "*"):
		return "objects of the API under " + strings.Join(j.Report.Scope.Prefixes, ", ") + j.exempt()
	}
	return "objects of " + strings.Join(j.expected, ", ") + j.exempt()
}

// exempt names what a wildcard would cover, and is expected in plaintext.
func (j *judge) exempt() string {
	covers := among(slices.DeleteFunc(slices.Clone(j.expected), func(name string) bool { return !strings.Contains(name, "*") }))
	var names []string
	for _, e := range j.Report.Judged() {
		if e.Value != (verify.Value{}) && !encrypts(e.Value) && e.Resource != verify.AnyResource && slices.ContainsFunc(j.expected, func(n string) bool { return strings.Contains(n, "*") }) && covers(e.Resource.String()) {
			names = append(names, e.Resource.String())
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return ", but for " + strings.Join(names, ", ") + ", which are expected in plaintext,"
}

// reading is what every claim about stored values needs: that what was read is all that there is of some resources.
func (j *judge) reading(relevant func(resource string) bool) *judging {
	c := &judging{}
	r := j.Report
	if !r.Scope.Whole {
		c.doubt("etcd was not read as a whole")
	}
	for _, e := range r.Judged() {
		if relevant(e.Resource.String()) && !j.readAll(e.Resource) {
			c.doubt("of %s only what lies under %s was read", e.Resource, strings.Join(r.Scope.Prefixes, ", "))
		}
	}
	if r.Scope.Whole {
		c.basis("every key under %s was read, %d keys, as many as the store itself counts at that revision", strings.Join(r.Scope.Prefixes, ", "), r.Totals.Keys)
	}
	j.otherRoots(c, relevant)
	for _, name := range j.Overrides {
		if relevant(name) {
			c.doubt("%s lies in another etcd, which was not read (--etcd-servers-overrides)", name)
		}
	}
	for _, s := range j.APIServers.Servers {
		for _, override := range s.Overrides {
			name, _, _ := strings.Cut(override, "=")
			if !slices.Contains(j.Overrides, name) && relevant(name) {
				c.doubt("the apiserver at %s keeps %s in another etcd, which was not read", s.Address, name)
			}
		}
	}
	if j.file() {
		if r.Source.Integrity != "valid" {
			c.doubt("the file's own digest is %s", cmp.Or(r.Source.Integrity, "not known"))
		}
		c.basis("the file's own SHA-256 is %s", r.Source.Integrity)
	}
	return c
}

// otherRoots doubts what lies under a storage root that the expectations of its resource are not meant for: another apiserver's, whose
// configuration nobody looked at.
func (j *judge) otherRoots(c *judging, relevant func(resource string) bool) {
	strange := make(map[string]int64)
	for _, n := range j.recorded.counts {
		e := n.form.entry
		if e.Resource == "" || e.Unserved || n.form.expected || !relevant(resourceName(e)) {
			continue
		}
		if want, ok := j.Report.Judged().For(verify.Resource{Group: e.Group.Group, Name: e.Resource}); ok && encrypts(want.Value) {
			strange[resourceName(e)+" under "+e.Root] += n.objects
		}
	}
	for _, name := range sortedKeys(strange) {
		c.doubt("%d %s were not judged: the EncryptionConfiguration is that of another storage root", strange[name], name)
	}
}

// readAll tells whether the prefixes reach all objects of a resource. Of a running etcd what the API lists shows which of several roots
// are its own; of a file nothing does.
func (j *judge) readAll(r verify.Resource) bool {
	switch {
	case j.Report.Scope.Found, r == verify.AnyResource, j.wholeRoots():
		return true
	case r.Wildcard():
		return false
	case !j.file():
		return j.Report.Covers(r)
	}
	return !slices.ContainsFunc(j.Report.Roots, func(root string) bool {
		dir := root + "/" + key.DirIn(root, r.Group, r.Name)
		return !slices.ContainsFunc(j.Report.Scope.Prefixes, func(p string) bool { return strings.HasPrefix(dir, p) })
	})
}

// completeness is what every claim about the population needs: that nothing is missing from it.
func (j *judge) completeness(relevant func(resource string) bool) *judging {
	c := j.reading(relevant)
	if j.file() {
		return c
	}
	switch a := j.Reconciliation; {
	case a == nil:
		c.doubt("nothing shows that etcd holds all that the API has: %s", cmp.Or(j.NotReconciled, "--reconcile-api was not given"))
	case a.Revision != j.Report.Source.Revision:
		c.doubt("the API listed revision %d, and etcd was read at revision %d", a.Revision, j.Report.Source.Revision)
	default:
		wrong := a.differing(relevant)
		for _, res := range wrong {
			if res.Problem != "" {
				c.doubt("%s could not be compared with the API: %s", res.Resource, res.Problem)
			} else {
				c.doubt("%s: %d objects are in the API alone, %d in etcd alone, %d at another revision", res.Resource, res.OnlyInAPI, res.OnlyInEtcd, res.OtherRev)
			}
		}
		missing := j.uncompared(a, relevant)
		for _, name := range missing {
			c.doubt("%s were not compared with the API", name)
		}
		if len(a.Resources) == 0 {
			c.doubt("nothing was compared with the API")
		}
		if len(wrong)+len(missing) == 0 && len(a.Resources) > 0 {
			c.basis("the API lists the same objects at that very revision")
		}
	}
	return c
}

// uncompared are the resources that matter, expected or found in etcd, that were not compared with the API.
func (j *judge) uncompared(a *Reconciliation, relevant func(resource string) bool) []string {
	names := make(map[string]bool)
	for _, name := range j.expected {
		names[name] = !strings.Contains(name, "*")
	}
	for _, n := range j.recorded.counts {
		if e := n.form.entry; e.Resource != "" && !e.Unserved {
			names[resourceName(e)] = true
		}
	}
	for _, res := range a.Resources {
		names[res.Resource] = false
	}
	return slices.DeleteFunc(sortedKeys(names), func(name string) bool { return !names[name] || !relevant(name) })
}

// differing are the resources of a comparison, of those that matter, of which etcd and the API do not hold the same.
func (r *Reconciliation) differing(relevant func(resource string) bool) []Reconciled {
	return slices.DeleteFunc(slices.Clone(r.Resources), func(res Reconciled) bool {
		return !relevant(res.Resource) || res.Problem == "" && res.OnlyInAPI+res.OnlyInEtcd+res.OtherRev == 0
	})
}

// among tells which resources are some of those that are named, or of all if none is.
func among(names []string) func(resource string) bool {
	return func(resource string) bool {
		r, err := verify.ParseResource(resource)
		return len(names) == 0 || err != nil || slices.ContainsFunc(names, func(name string) bool {
			wide, err := verify.ParseResource(name)
			return err != nil || wide.Covers(r)
		})
	}
}

// ofBytes are the reasons that leave open whether something is encrypted.
var ofBytes = []verify.Code{verify.UnknownTransformer, verify.Undecodable, verify.Empty, verify.CannotOpen, verify.WrongPlace, verify.UnknownKey,
	verify.NothingFound, verify.NotRead, verify.NotConfirmed}

// ofVersions are those that are about apiVersions alone.
var ofVersions = []verify.Code{verify.StaleVersion, verify.UnservedVersion, verify.UnknownVersion, verify.NotOpened, verify.OrphanedResource, verify.StoredVersions}

// doubts takes over what kept the audit itself from Complete: whatever is a warning, and what was not understood in any case.
func (j *judge) doubts(c *judging, matters func(verify.Code) bool) {
	for _, r := range j.Report.Reasons {
		if (r.Severity == verify.Warning || r.Severity == verify.Error && slices.Contains(ofBytes, r.Code)) && matters(r.Code) {
			c.doubt("%s", sentence(r.Resource, r.Objects, r.Message))
		}
	}
}

func sentence(resource string, objects int64, message string) string {
	switch {
	case resource != "" && objects > 0:
		return fmt.Sprintf("%d %s: %s", objects, resource, message)
	case resource != "":
		return resource + ": " + message
	}
	return message
}

// encrypted is SVM-E1.
func (j *judge) encrypted(found *judging) *judging {
	c := &judging{Claim: Claim{ID: "SVM-E1", Basis: slices.Clone(found.Basis)}}
	c.state("%s, all %s are encrypted.", j.where, j.subject())
	c.limitedBy("L1", "L2", "L4", "L5", "L7", "L8")
	approved := make(map[string]bool)
	objects := j.population(c, approved, func(f *form) bool { return f.state == StatePlaintext })
	c.covered(approved)
	switch {
	case len(j.expected) == 0 && len(j.Report.Judged()) > 0:
		c.doubt("no resource was expected to be encrypted")
	case objects == 0:
		c.doubt("there are none")
	}
	if later := j.Later; later != nil && later.Plaintext > 0 {
		c.fail("%d objects were written in plaintext after that revision", later.Plaintext)
	}
	j.unread(c)
	j.doubts(c, func(code verify.Code) bool { return slices.Contains(ofBytes, code) })
	c.inherit(found)
	return c
}

// population goes over the records that are expected to be encrypted: those that are wrong fail the claim unless that is approved. It
// returns how many there are.
func (j *judge) population(c *judging, approved map[string]bool, wrong func(*form) bool) int64 {
	var objects, atFault, excepted int64
	lapsed := make(map[string]int64)
	byResource := make(map[string]int64)
	for _, n := range j.recorded.counts {
		if !n.form.expected || n.form.entry.Resource == "" {
			continue
		}
		objects += n.objects
		switch {
		case !wrong(n.form):
		case n.approved():
			excepted += n.objects
			approved[n.exception] = true
		default:
			atFault += n.objects
			byResource[resourceName(n.form.entry)+" "+describe(n.form.entry)] += n.objects
			if n.expired {
				lapsed[n.exception] += n.objects
				approved[n.exception] = true
			}
		}
	}
	if atFault > 0 {
		for _, name := range sortedKeys(byResource) {
			c.fail("%d %s", byResource[name], name)
		}
		for _, id := range sortedKeys(lapsed) {
			c.fail("the exception %s, which covers %d of them, has expired", id, lapsed[id])
		}
	}
	c.basis("%d objects", objects)
	if excepted > 0 {
		// It must not read as if there were none.
		c.Statement = fmt.Sprintf("%s, but for %d that approved exceptions cover (%s).", strings.TrimSuffix(c.Statement, "."), excepted, strings.Join(sortedKeys(approved), ", "))
	}
	return objects
}

// describe is how the objects of an entry are encrypted, with a KMS key ID as the metrics have it.
func describe(e *etcdscan.Entry) string {
	switch {
	case e.AtRest.Provider == atrest.Identity:
		return "in plaintext"
	case e.AtRest.KeyID != "":
		return "under " + string(e.AtRest.Provider) + ":" + e.AtRest.Key + ":" + hashOf(e.AtRest.KeyID)
	}
	return "under " + verify.Describe(e.AtRest)
}

// unread doubts what was not understood.
func (j *judge) unread(c *judging) {
	for _, n := range j.recorded.counts {
		if n.form.expected && n.form.unclear() {
			c.doubt("%d %s are not understood, or cannot be opened", n.objects, resourceName(n.form.entry))
		}
	}
	j.laterUnknown(c)
}

func (j *judge) laterUnknown(c *judging) {
	if j.Later != nil && j.Later.Unknown > 0 {
		c.doubt("%d objects that were written after that revision are not understood", j.Later.Unknown)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
