package evidence

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/verify"
)

// sameConfiguration is SVM-E4.
func (j *judge) sameConfiguration() *judging {
	c := &judging{Claim: Claim{ID: "SVM-E4"}}
	c.limitedBy("L1", "L7")
	a := j.APIServers
	switch {
	case a.Expected != "":
		c.state("Every running apiserver has loaded the EncryptionConfiguration with %s.", a.Expected)
	default:
		c.state("Every running apiserver has loaded the same EncryptionConfiguration.")
	}
	if !a.Asked {
		c.doubt("the apiservers were not asked: %s", a.Why)
		return c
	}
	c.basis("%d of %d apiservers answered", a.Answered, a.Known)
	for _, s := range a.Disagreements {
		c.fail("%s", s)
	}
	for _, s := range a.Missing {
		c.doubt("%s did not answer", s)
	}
	for _, s := range a.Unchecked {
		c.doubt("%s", s)
	}
	if !a.Counted {
		c.doubt("how many apiservers there are is not known: their leases could not be counted")
	}
	if a.Agree == nil && !c.unsettled() {
		c.doubt("they do not all tell what they have loaded")
	}
	if a.Agree != nil && !*a.Agree && !c.failing() && !c.unsettled() {
		c.fail("they do not agree")
	}
	if a.Answered < a.Known && !c.unsettled() {
		c.doubt("%d of them did not answer", a.Known-a.Answered)
	}
	loaded := false
	for _, s := range a.Servers {
		if s.Answered && !s.MetricsRead {
			c.doubt("the apiserver at %s does not tell: %s", s.Address, s.MetricsProblem)
		}
		loaded = loaded || s.EncryptionConfig != ""
	}
	for _, s := range a.Servers {
		if want := cmp.Or(a.Expected, a.Servers[0].EncryptionConfig); loaded && s.Answered && s.EncryptionConfig != want && !c.failing() && !c.unsettled() {
			c.fail("the apiserver at %s has loaded another one, or none", s.Address)
		}
	}
	switch {
	case loaded || c.unsettled():
	case j.expectsKeys() || len(j.Report.Judged()) == 0:
		c.fail("no apiserver has loaded one")
	default:
		c.doubt("no apiserver has loaded one, and nothing was expected to be encrypted")
	}
	return c
}

// writes is SVM-E5.
func (j *judge) writes(same *judging) *judging {
	c := &judging{Claim: Claim{ID: "SVM-E5"}}
	c.limitedBy("L1", "L3", "L7")
	a := j.APIServers
	j.state5(c, time.Time{})
	if later := j.Later; later != nil && later.Plaintext+later.OtherKey > 0 {
		c.fail("%d objects were written otherwise after revision %d", later.Plaintext+later.OtherKey, j.Report.Source.Revision)
	}
	j.laterUnknown(c)
	if !a.Asked {
		c.doubt("the apiservers were not asked: %s", a.Why)
		return c
	}
	if !a.Counted || a.Answered < a.Known || len(a.Missing) > 0 {
		c.doubt("not every apiserver was asked: %d answered of %d", a.Answered, a.Known)
	}
	if same.failing() || same.unsettled() {
		// What an apiserver writes without a configuration, or with another one, it does not count.
		c.doubt("the apiservers are not known to have loaded the same EncryptionConfiguration (SVM-E4)")
	}
	for _, e := range a.Earlier {
		if !slices.ContainsFunc(a.Servers, func(s APIServer) bool { return s.IDHash == e.IDHash && e.IDHash != "" }) {
			c.doubt("the apiserver at %s was there before, and is gone: what it wrote is not known", e.Address)
		}
	}
	j.twins(c)
	named := 0
	for _, e := range j.Report.Judged() {
		switch {
		case !encrypts(e.Value):
			continue
		case e.Value.Key == "":
			c.doubt("%s: no key was expected", e.Resource)
			continue
		}
		named++
		if e.Resource.Wildcard() {
			c.doubt("%s: the apiservers count writes by resource, and not by wildcards", e.Resource)
			continue
		}
		written := int64(0)
		for _, s := range a.Servers {
			if s.Answered {
				written += j.writtenBy(c, s, e)
			}
		}
		if written == 0 {
			c.doubt("no apiserver has written any %s in that time", e.Resource)
		} else {
			c.basis("%s: %d writes under %s", e.Resource, written, expectedValue(e.Value))
		}
	}
	if named == 0 {
		c.doubt("no key was expected: an EncryptionConfiguration or --expect would name it")
	}
	return c
}

// state5 is the sentence of SVM-E5: since a time, or since each apiserver was started.
func (j *judge) state5(c *judging, since time.Time) {
	if !since.IsZero() {
		c.state("Since %s, each apiserver has written %s with the expected key alone.", since.UTC().Format(clock), j.subject())
		return
	}
	var latest time.Time
	for _, s := range j.APIServers.Servers {
		if s.StartedAt.After(latest) {
			latest = s.StartedAt
		}
	}
	last := ""
	if !latest.IsZero() {
		last = ", the last of them at " + latest.UTC().Format(clock)
	}
	c.state("Since each apiserver was started%s, it has written %s with the expected key alone.", last, j.subject())
}

// writtenBy holds against the claim what one apiserver has written of a resource under another key, and returns how much it wrote
// under the expected one.
func (j *judge) writtenBy(c *judging, s APIServer, want verify.Expectation) int64 {
	if !s.MetricsRead {
		c.doubt("the apiserver at %s does not tell what it writes: %s", s.Address, s.MetricsProblem)
		return 0
	}
	right, other, counted := s.counted(want)
	if !counted {
		c.doubt("the apiserver at %s does not count its writes by resource and key: its release is too old, it has too many, or it uses KMS v1", s.Address)
		return 0
	}
	if v := want.Value; v.Provider == string(atrest.KMS) && v.KeyID == "" {
		c.doubt("%s: no key ID was expected of %s, and its counters do not tell one key of a plugin from another", want.Resource, v)
	}
	if s.EncryptionConfig == "" {
		c.doubt("the apiserver at %s has loaded no EncryptionConfiguration: it counts nothing of what it writes", s.Address)
	}
	reloaded := !s.LoadedAt.Equal(s.StartedAt) || s.StartedAt.IsZero()
	if asked := !j.APIServers.EarlierAt.IsZero(); asked || reloaded || other > 0 {
		// It may not have written as it does now for as long as it runs, and what it wrote of a resource that its configuration did not
		// cover it has not counted. Of a process that was asked before, and wrote as it does now already, what came since is known.
		before, ok := j.before(s)
		switch {
		case !ok && reloaded:
			c.doubt("the apiserver at %s loaded its configuration, or changed its KMS key, after it was started: what it wrote before its counters do not tell", s.Address)
			return right
		case !ok && asked:
			c.doubt("the apiserver at %s is not the process that ran before: what that one wrote is not known", s.Address)
			return right
		case ok:
			rightBefore, otherBefore, _ := before.counted(want)
			right, other = right-rightBefore, other-otherBefore
			j.state5(c, j.APIServers.EarlierAt)
		}
	}
	if other > 0 {
		c.fail("the apiserver at %s has written %d %s otherwise", s.Address, other, want.Resource)
	}
	if want.Value.KeyID != "" && s.KMSKeyIDs[want.Value.Key] != hashOf(want.Value.KeyID) {
		c.doubt("the KMS plugin of the apiserver at %s offers another key than the expected one", s.Address)
	}
	return right
}

// before is the same process as it was when it was asked before, if it wrote then as it does now.
func (j *judge) before(s APIServer) (APIServer, bool) {
	for _, e := range j.APIServers.Earlier {
		if e.IDHash == s.IDHash && s.IDHash != "" && e.StartedAt.Equal(s.StartedAt) && !s.StartedAt.IsZero() && e.MetricsRead && e.EncryptionConfig == s.EncryptionConfig &&
			e.LoadedAt.Equal(s.LoadedAt) && !s.LoadedAt.After(j.APIServers.EarlierAt) {
			return e, true
		}
	}
	return APIServer{}, false
}

// counted is how much of a resource an apiserver has written as is expected, and otherwise. It is not ok where it counts all resources
// together.
func (s APIServer) counted(want verify.Expectation) (right, other int64, ok bool) {
	provider, key := prefixesOf(want.Value)
	for _, op := range s.Writes {
		switch {
		case op.Resource == "" && op.Count > 0:
			return 0, 0, false
		case op.Resource != want.Resource.String() || op.Status != "OK":
		case op.Prefix == provider && key == "" || op.Prefix == key && key != "":
			right += op.Count
		case key == "" && strings.HasPrefix(op.Prefix, "k8s:enc:kms:v1:"): // which says nothing of its keys
			return 0, 0, false
		case op.Prefix == provider: // the key is counted by itself
		default:
			other += op.Count
		}
	}
	return right, other, true
}

// prefixesOf are the transformer prefix that values of an expectation get, and the one nested in it that names the key.
func prefixesOf(v verify.Value) (provider, key string) {
	if v.Provider == string(atrest.KMS) {
		return fmt.Sprintf("k8s:enc:kms:v2:%s:", v.Key), ""
	}
	return fmt.Sprintf("k8s:enc:%s:v1:", v.Provider), v.Key + ":"
}

// overridden are the resources that apiservers keep elsewhere.
func (a APIServers) overridden() []string {
	var names []string
	for _, s := range a.Servers {
		for _, override := range s.Overrides {
			name, _, _ := strings.Cut(override, "=")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
