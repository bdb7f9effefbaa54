package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/verify/evidence"
)

// reconciled compares etcd with the API, what differs first.
type reconciled struct{ Rows []row }

func lookedAt(s *evidence.Scan) []point {
	var out []point
	if s.Scope.Statement != "" {
		out = append(out, point{Head: "Scope", Texts: []string{s.Scope.Statement}})
	}
	if len(s.Scope.Prefixes) > 0 {
		out = append(out, point{Head: "Prefixes", Texts: s.Scope.Prefixes})
	}
	resources := s.Scope.Resources
	if len(resources) == 0 {
		resources = []string{"all of the API in the prefixes"}
	}
	out = append(out, point{Head: "Expected to be encrypted", Texts: []string{strings.Join(resources, ", ")}})
	out = append(out, point{Head: "Keys", Texts: []string{fmt.Sprintf("%s read, at one revision of etcd", number(s.Completeness.Read))}})
	var opened, objects int64
	for _, p := range s.Population {
		if p.Expected {
			opened, objects = opened+p.Opened, objects+p.Objects
		}
	}
	values := "none was opened: that they are encrypted is what their prefixes say"
	if opened > 0 {
		values = fmt.Sprintf("of the %s that are expected to be encrypted, %s were opened and found to be what their keys name", count(objects, "object"), number(opened))
	}
	out = append(out, point{Head: "Values", Texts: []string{values}})
	if l := s.AsOf.Later; l != nil {
		out = append(out, point{
			Head: "Later writes", Loud: l.Plaintext > 0,
			Texts: []string{fmt.Sprintf("%s until revision %s: %s unencrypted, %s under another key, %s not understood", count(l.Writes, "write"), number(l.HeadRevision), number(l.Plaintext), number(l.OtherKey), number(l.Unknown))},
		})
	}
	return out
}

func notLookedAt(d *evidence.Document) []point {
	s := d.Scan
	var out []point
	if !s.Completeness.Whole {
		out = append(out, point{Head: "Keys that were not read", Texts: []string{cmp.Or(s.Completeness.Missing, "why is not known")}, Loud: true})
	}
	if len(s.Scope.NotCovered) > 0 {
		out = append(out, point{Head: "Not covered", Texts: s.Scope.NotCovered})
	}
	if len(s.Scope.Overrides) > 0 {
		out = append(out, point{Head: "Kept in another etcd (--etcd-servers-overrides)", Texts: s.Scope.Overrides, Loud: true})
	}
	switch n := s.Completeness.Outside; {
	case n == nil:
		out = append(out, point{Head: "Keys beyond the prefixes", Texts: []string{"not counted"}})
	case *n > 0:
		out = append(out, point{Head: "Keys beyond the prefixes", Texts: []string{fmt.Sprintf("%s, not read", count(*n, "key"))}})
	}
	switch r := s.Completeness.API; {
	case r == nil:
		out = append(out, point{Head: "The API's own list", Texts: []string{cmp.Or(s.Completeness.APIWhy, "not asked for")}})
	default:
		var problems []string
		for _, res := range r.Resources {
			if res.Problem != "" {
				problems = append(problems, fmt.Sprintf("%s: %s", res.Resource, res.Problem))
			}
		}
		if problems != nil {
			out = append(out, point{Head: "Not listed by the API", Texts: problems, Loud: true})
		}
	}
	if s.AsOf.Later == nil {
		out = append(out, point{Head: "Later writes", Texts: []string{cmp.Or(s.AsOf.LaterUnknown, "nobody could look")}})
	}
	if len(s.Cluster.Unknown) > 0 {
		out = append(out, point{Head: "Not known of the cluster", Texts: s.Cluster.Unknown})
	}
	switch a := d.APIServers; {
	case a == nil:
		out = append(out, point{Head: "Apiservers", Texts: []string{"not asked"}})
	case !a.Asked:
		out = append(out, point{Head: "Apiservers", Texts: []string{cmp.Or(a.Why, "not asked")}})
	default:
		if texts := slices.Concat(a.Missing, a.Unchecked); len(texts) > 0 {
			out = append(out, point{Head: "Apiservers", Texts: texts})
		}
	}
	return out
}

func completeness(c evidence.Completeness) ([]fact, *reconciled) {
	whole := "yes: every key that etcd counts was read"
	if !c.Whole {
		whole = "no: " + cmp.Or(c.Missing, "why is not known")
	}
	facts := []fact{
		{Term: "Keys read", Texts: []string{number(c.Read)}},
		{Term: "Keys by etcd's own count", Texts: []string{number(c.Counted)}},
		{Term: "Whole", Texts: []string{whole}, Loud: !c.Whole},
	}
	if c.Outside == nil {
		facts = append(facts, fact{Term: "Keys beyond the prefixes", Texts: []string{"not counted"}})
	} else {
		facts = append(facts, fact{Term: "Keys beyond the prefixes", Texts: []string{number(*c.Outside)}})
	}
	if c.API == nil {
		facts = append(facts, fact{Term: "Compared with the API", Texts: []string{"no: " + cmp.Or(c.APIWhy, "it was not asked to list")}})
		return facts, nil
	}
	match := "every object is on both sides, at the same revision"
	if !c.API.Match {
		match = "they differ, or not every resource could be listed"
	}
	facts = append(facts, fact{Term: "Compared with the API", Texts: []string{fmt.Sprintf("at revision %s (%s): %s", number(c.API.Revision), c.API.Method, match)}, Loud: !c.API.Match})
	r := &reconciled{}
	for _, x := range c.API.Resources {
		verdict := "match"
		loud := false
		switch {
		case x.Problem != "":
			verdict, loud = "not listed: "+x.Problem, true
		case x.OnlyInEtcd+x.OnlyInAPI+x.OtherRev > 0:
			verdict, loud = "differ", true
		}
		r.Rows = append(r.Rows, row{Cells: []string{x.Resource, number(x.InEtcd), number(x.InAPI), number(x.OnlyInEtcd), number(x.OnlyInAPI), number(x.OtherRev), verdict}, Loud: loud})
	}
	slices.SortStableFunc(r.Rows, func(a, b row) int {
		switch {
		case a.Loud == b.Loud:
			return 0
		case a.Loud:
			return -1
		}
		return 1
	})
	return facts, r
}
