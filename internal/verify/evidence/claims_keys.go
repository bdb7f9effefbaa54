package evidence

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/verify"
)

// underKey is SVM-E2.
func (j *judge) underKey(found *judging) *judging {
	c := &judging{Claim: Claim{ID: "SVM-E2", Basis: slices.Clone(found.Basis)}}
	c.state("%s, all %s are under the key that they are expected to be written with.", j.where, j.subject())
	c.limitedBy("L1", "L2", "L3", "L4", "L5", "L7", "L8")
	named := 0
	for _, e := range j.Report.Judged() {
		switch {
		case !encrypts(e.Value):
		case e.Value.Key == "":
			c.doubt("%s: no key was expected", e.Resource)
		default:
			named++
			c.basis("%s: %s, as %s says", e.Resource, expectedValue(e.Value), from(e.From))
		}
	}
	if named == 0 {
		c.doubt("no key was expected: an EncryptionConfiguration or --expect would name it")
	}
	approved := make(map[string]bool)
	objects := j.population(c, approved, func(f *form) bool {
		return slices.ContainsFunc(f.codes, func(code verify.Code) bool {
			return code == verify.Plaintext || code == verify.StaleKey || code == verify.EncryptedUnexpectedly
		})
	})
	c.covered(approved)
	if objects == 0 && named > 0 {
		c.doubt("there are none")
	}
	if later := j.Later; later != nil && later.Plaintext+later.OtherKey > 0 {
		c.fail("%d objects were written otherwise after that revision", later.Plaintext+later.OtherKey)
	}
	for _, n := range j.recorded.counts {
		if e := n.form.entry; n.form.expected && e.AtRest.Provider == atrest.KMS && e.AtRest.Version == atrest.V1 {
			c.doubt("%d %s are under KMS v1, which does not tell its key", n.objects, resourceName(e))
		}
	}
	j.unread(c)
	j.doubts(c, func(code verify.Code) bool { return !slices.Contains(ofVersions, code) })
	c.inherit(found)
	return c
}

// expectedValue is an expectation with its KMS key ID as the metrics have it.
func expectedValue(v verify.Value) string {
	if v.KeyID != "" {
		v.KeyID = hashOf(v.KeyID)
	}
	return v.String()
}

func from(f verify.From) string {
	switch f {
	case verify.FromConfig:
		return "the EncryptionConfiguration"
	case verify.FromFlag:
		return "the operator"
	}
	return "what was seen of an apiserver"
}

// noOtherKey is SVM-E3.
func (j *judge) noOtherKey(found *judging) *judging {
	c := &judging{Claim: Claim{ID: "SVM-E3", Basis: slices.Clone(found.Basis)}}
	c.limitedBy("L1", "L2", "L3", "L5", "L6", "L7", "L8")
	if k := j.CanRemove; k != nil {
		c.state("No live object needs the key %s, and no apiserver writes with it.", k.Key)
		switch k.Answer {
		case "yes":
			c.basis("the answer of svmctl keys, which read etcd and asked the apiservers by itself: keys.json tells what it rests on")
		case "no":
			c.fail("%s", k.Reason)
		default:
			c.doubt("%s", k.Reason)
		}
		j.needing(c, k.Key)
		c.inherit(found)
		return c
	}
	current := make(map[verify.Value]bool)
	for _, e := range j.Report.Judged() {
		if encrypts(e.Value) && e.Value.Key != "" {
			current[e.Value] = true
		}
	}
	var names []string
	for v := range current {
		names = append(names, expectedValue(v))
	}
	slices.Sort(names)
	c.state("%s, no object of any resource is encrypted under a key other than %s.", j.where, cmp.Or(strings.Join(names, ", "), "the expected ones"))
	if len(current) == 0 {
		c.doubt("no key was expected, so that none is another one")
	}
	if !j.Report.Scope.Found && !j.wholeRoots() {
		c.doubt("only %s was read", strings.Join(j.Report.Scope.Prefixes, ", "))
	}
	switch foreign := j.Report.Foreign; {
	case foreign == nil:
		c.doubt("what lies beside %s could not be counted", strings.Join(j.Report.Scope.Prefixes, ", "))
	case *foreign > 0:
		c.doubt("%d keys lie beside %s, and were not read", *foreign, strings.Join(j.Report.Scope.Prefixes, ", "))
	}
	others := make(map[string]int64)
	var seen []atrest.Encryption
	for _, n := range j.recorded.counts {
		e := n.form.entry
		seen = append(seen, e.AtRest)
		switch {
		case n.form.unclear() || e.AtRest.Provider == atrest.Unknown:
			c.doubt("%d %s are not understood, or cannot be opened", n.objects, resourceName(e))
		case e.AtRest.Provider == atrest.Identity:
		case e.Twins > 1 && !j.underTwin(e):
			others[describe(e)+", of which there are several, and not as it is expected"] += n.objects
		case len(current) > 0 && !anyMatches(current, e.AtRest):
			others[describe(e)] += n.objects
		}
	}
	kekUnknown(c, current, seen)
	for _, k := range sortedKeys(others) {
		c.fail("%d objects are %s", others[k], k)
	}
	if j.Later != nil && j.Later.OtherKey > 0 {
		c.fail("%d objects were written under another key after that revision", j.Later.OtherKey)
	}
	j.laterUnknown(c)
	j.doubts(c, func(code verify.Code) bool { return !slices.Contains(ofVersions, code) })
	c.inherit(found)
	return c
}

// underTwin tells whether objects are under the one of several keys of a name that is expected of their resource.
func (j *judge) underTwin(e *etcdscan.Entry) bool {
	want, ok := j.Report.Judged().ForGroup(e.Group)
	return ok && encrypts(want.Value) && want.Matches(e.Group)
}

// twins doubts what only knows keys by their names, where there are several of an expected name.
func (j *judge) twins(c *judging) {
	named := make(map[string]bool)
	for _, n := range j.recorded.counts {
		e := n.form.entry
		if want, ok := j.Report.Judged().ForGroup(e.Group); e.Twins > 1 && ok && want.Value.Matches(e.AtRest) {
			named[string(e.AtRest.Provider)+":"+e.AtRest.Key] = true
		}
	}
	for _, name := range sortedKeys(named) {
		c.doubt("there are several keys that are called %s, and nothing here tells one from the other", name)
	}
}

// needing holds against the claim what of the records is under a key after all.
func (j *judge) needing(c *judging, name string) {
	v, err := verify.ParseValue(name)
	plain := v.Provider == string(atrest.Identity)
	for _, n := range j.recorded.counts {
		switch e := n.form.entry; {
		case err == nil && encrypts(v) && v.Matches(e.AtRest):
			c.fail("%d %s are under it", n.objects, resourceName(e))
		case plain && n.form.state == StatePlaintext:
			c.fail("%d %s are in plaintext", n.objects, resourceName(e))
		case n.form.unclear():
			c.doubt("%d %s are not understood, or cannot be opened", n.objects, resourceName(e))
		}
	}
	j.laterUnknown(c)
	if j.Later != nil && j.Later.Plaintext > 0 && plain {
		c.fail("%d objects were written in plaintext after that revision", j.Later.Plaintext)
	}
	if j.Later != nil && j.Later.OtherKey > 0 {
		c.doubt("%d objects were written under another key than the expected one after that revision", j.Later.OtherKey)
	}
}

// kekUnknown doubts values of which an expectation of KMS without a key ID does not tell whether they are all under one key.
func kekUnknown(c *judging, current map[verify.Value]bool, found []atrest.Encryption) {
	for v := range current {
		if v.Provider != string(atrest.KMS) || v.KeyID != "" {
			continue
		}
		ids := make(map[string]bool)
		for _, e := range found {
			switch {
			case !v.Matches(e):
			case e.Version == atrest.V1:
				c.doubt("some values are under KMS v1, which does not tell its key")
			default:
				ids[e.KeyID] = true
			}
		}
		if len(ids) > 1 {
			c.doubt("there are values under %d key IDs of %s, and none of them was expected", len(ids), v)
		}
	}
}

// wholeRoots tells whether the prefixes are all storage roots that are known.
func (j *judge) wholeRoots() bool {
	for _, root := range j.Report.Roots {
		if !slices.ContainsFunc(j.Report.Scope.Prefixes, func(p string) bool { return strings.HasPrefix(root+"/", p) }) {
			return false
		}
	}
	return len(j.Report.Roots) > 0
}

func anyMatches(current map[verify.Value]bool, e atrest.Encryption) bool {
	for v := range current {
		if v.Matches(e) {
			return true
		}
	}
	return false
}

// rotated is SVM-E6.
func (j *judge) rotated(underKey, found *judging) *judging {
	c := &judging{Claim: Claim{ID: "SVM-E6"}}
	c.limitedBy("L1", "L2", "L3", "L5", "L6", "L7", "L8")
	goal := "key"
	keyed, versioned := j.expectsKeys(), j.expectsVersions()
	switch {
	case keyed && versioned:
		goal = "key and apiVersion"
	case versioned:
		goal = "apiVersion"
	}
	r := j.Rotation
	if r == nil {
		c.state("The migration to the expected %s is finished.", goal)
		c.doubt("this run migrated nothing: svmctl migrate --evidence shows a migration from its beginning to its end")
		return c
	}
	c.state("The migration to the expected %s was finished between revision %d (%s) and revision %d (%s).",
		goal, r.From, r.Began.UTC().Format(clock), r.To, r.Done.UTC().Format(clock))
	c.basis("%d objects were not as expected before, %d were rewritten", r.StaleBefore, r.Rewritten)
	switch {
	case r.Verdict == verify.Incomplete:
		c.fail("the migration is Incomplete")
	case r.Verdict != verify.Complete:
		c.doubt("the migration is not Complete")
	}
	if r.Stopped != "" {
		c.doubt("it ended early: %s", r.Stopped)
	}
	if !r.FromWhole {
		c.doubt("the store was not read as a whole before it began")
	}
	if r.StaleBefore == 0 {
		c.doubt("there was nothing to migrate: whatever was done was done before")
	}
	if keyed {
		c.against = append(c.against, underKey.against...)
		c.Exceptions = slices.Clone(underKey.Exceptions)
		c.inherit(underKey)
	}
	if versioned || !keyed {
		c.inherit(found)
	}
	if versioned {
		j.atVersion(c)
	}
	if len(c.Exceptions) > 0 {
		c.Statement = fmt.Sprintf("%s, but for what approved exceptions cover (%s).", strings.TrimSuffix(c.Statement, "."), strings.Join(c.Exceptions, ", "))
	}
	if !keyed && !versioned {
		c.doubt("nothing was expected, so that nothing shows what is finished")
	}
	return c
}

func (j *judge) expectsKeys() bool {
	return slices.ContainsFunc(j.Report.Judged(), func(e verify.Expectation) bool { return encrypts(e.Value) })
}

func (j *judge) expectsVersions() bool {
	return slices.ContainsFunc(j.Report.Judged(), func(e verify.Expectation) bool { return e.Version != "" })
}

// atVersion holds against the claim what is not stored at the apiVersion that is expected.
func (j *judge) atVersion(c *judging) {
	for _, n := range j.recorded.counts {
		switch {
		case !n.form.has(verify.StaleVersion) && !n.form.has(verify.UnservedVersion):
		case n.approved():
			if !slices.Contains(c.Exceptions, n.exception) {
				c.Exceptions = append(c.Exceptions, n.exception)
			}
		default:
			c.fail("%d %s are stored as %s", n.objects, resourceName(n.form.entry), n.form.entry.Stored.APIVersion)
		}
	}
	j.doubts(c, func(code verify.Code) bool {
		return slices.Contains(ofVersions, code) || slices.Contains(ofBytes, code)
	})
}

const clock = "2006-01-02 15:04:05 UTC"

// history is SVM-E7.
func (j *judge) history(found *judging) *judging {
	c := &judging{Claim: Claim{ID: "SVM-E7"}}
	where := "that etcd still gives"
	if j.file() {
		where = "in the file"
	}
	c.state("No older revision %s holds %s in plaintext or under another key than the expected one.", where, j.subject())
	c.limitedBy("L1", "L2", "L3", "L5", "L6", "L7", "L8")
	h := j.Report.History
	if h == nil {
		c.doubt("nobody looked: --history counts what etcd still gives")
		return c
	}
	c.basis("%d older revisions, from revision %d on", h.Revisions, h.Compacted)
	current := make(map[verify.Value]bool)
	for _, e := range j.Report.Judged() {
		switch {
		case !encrypts(e.Value):
		case e.Value.Key == "":
			c.doubt("%s: no key was expected", e.Resource)
		default:
			current[e.Value] = true
		}
	}
	if len(current) == 0 && !c.unsettled() {
		c.doubt("no key was expected, so that none is another one")
	}
	var seen []atrest.Encryption
	for _, g := range h.Groups {
		r := verify.Resource{Group: g.Group, Name: g.Resource}
		want, ok := j.Report.Judged().ForGroup(etcdscan.Group{Root: g.Root, Group: g.Group, Resource: g.Resource})
		if meant, named := j.Report.Judged().For(r); g.Resource != "" && !ok && named && encrypts(meant.Value) {
			c.doubt("%d older revisions of %s under %s were not judged: the EncryptionConfiguration is that of another storage root", g.Revisions, r, g.Root)
		}
		switch {
		case g.Resource == "", ok && !encrypts(want.Value), !ok && len(j.Report.Judged()) > 0:
		case g.AtRest.Provider == atrest.Unknown:
			c.doubt("%d older revisions of %s are not understood", g.Revisions, r)
		case g.AtRest.Provider == atrest.Identity:
			c.fail("%d older revisions of %s are in plaintext", g.Revisions, r)
		case ok && !want.Value.Matches(g.AtRest):
			c.fail("%d older revisions of %s are under another key", g.Revisions, r)
		default:
			seen = append(seen, g.AtRest)
		}
	}
	for _, e := range j.Report.Entries {
		if want, ok := j.Report.Judged().ForGroup(e.Group); ok && encrypts(want.Value) && e.Resource != "" {
			seen = append(seen, e.AtRest)
		}
	}
	kekUnknown(c, current, seen)
	c.inherit(found)
	j.twins(c)
	switch later := j.Later; {
	case j.file():
	case later == nil:
		c.doubt("what was written after revision %d is not known: %s", j.Report.Source.Revision, j.LaterUnknown)
	case later.Plaintext+later.OtherKey > 0:
		c.fail("%d objects were written otherwise after revision %d", later.Plaintext+later.OtherKey, j.Report.Source.Revision)
	}
	j.laterUnknown(c)
	silent := 0
	for _, m := range j.Cluster.EtcdMembers {
		if !m.Answered {
			silent++
		}
	}
	switch {
	case j.file():
		c.basis("the file alone")
	case len(j.Cluster.EtcdMembers) == 0:
		c.doubt("the members of etcd are not known")
	case silent > 0:
		c.doubt("%d members of etcd did not answer", silent)
	}
	return c
}

// residuals is SVM-E8.
func (j *judge) residuals(underKey *judging) *judging {
	c := &judging{Claim: Claim{ID: "SVM-E8"}}
	c.limitedBy("L5", "L6", "L7", "L9")
	r := j.Residuals
	if r == nil {
		c.state("Nothing is left of old keys and of plaintext outside of the API: in free pages, write-ahead logs and snapshots.")
		c.doubt("nobody looked: --residue looks through files of etcd's")
		return c
	}
	c.state("In the files of etcd's that were given, %s, nothing is left of old keys and of plaintext (%s).", strings.Join(r.Files, ", "), strings.Join(r.Places, ", "))
	c.against, c.open = slices.Clone(r.Left), slices.Clone(r.Untold)
	switch {
	case len(r.Files) == 0:
		c.doubt("no file was looked through")
	case !j.expectsKeys():
		c.doubt("no key was expected, so that none is an old one")
	case underKey.failing() || len(underKey.Exceptions) > 0:
		c.doubt("not all live objects are under the expected key, and what they are under is not called old here")
	}
	for _, e := range j.Report.Judged() {
		if e.Value.Provider == string(atrest.KMS) && e.Value.KeyID == "" {
			c.doubt("%s: no key ID was expected of %s, so that none is called old", e.Resource, e.Value)
		}
	}
	c.basis("%d files were looked through", len(r.Files))
	return c
}
