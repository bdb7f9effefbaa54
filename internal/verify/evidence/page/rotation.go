package page

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/evidence"
)

// migrationReport is what the page tells of a MigrationReport, which docs/json.md describes.
type migrationReport struct {
	Verdict string         `json:"verdict"`
	Reasons []audit.Reason `json:"reasons"`
	Stopped *struct {
		Message string `json:"message"`
		Hint    string `json:"hint"`
	} `json:"stopped"`
	DryRun   string            `json:"dryRun"`
	Backend  string            `json:"backend"`
	Targets  []migrationTarget `json:"targets"`
	Outcomes struct {
		Rewritten       int64 `json:"rewritten"`
		AlreadyCurrent  int64 `json:"alreadyCurrent"`
		NotRewritten    int64 `json:"notRewritten"`
		ChangedByOthers int64 `json:"changedByOthers"`
		Deleted         int64 `json:"deleted"`
		Failed          int64 `json:"failed"`
		Accepted        int64 `json:"accepted"`
	} `json:"outcomes"`
	Rounds   int `json:"rounds"`
	Snapshot *struct {
		Path   string `json:"path"`
		SHA256 string `json:"sha256"`
	} `json:"snapshot"`
	Settled *struct {
		Seconds float64 `json:"seconds"`
		Writes  int64   `json:"writes"`
		Late    int64   `json:"late"`
	} `json:"settled"`
	Elsewhere []struct {
		Resource string `json:"resource"`
		Value    string `json:"value"`
		Objects  *int64 `json:"objects"`
		Note     string `json:"note"`
	} `json:"elsewhere"`
	Warnings   []string  `json:"warnings"`
	StartedAt  time.Time `json:"startedAt"`
	FinishedAt time.Time `json:"finishedAt"`
}

type migrationTarget struct {
	Resource string `json:"resource"`
	Value    string `json:"value"`
	Version  string `json:"version"`
	From     string `json:"from"`
	Reason   string `json:"reason"`
}

// rotation is what was rewritten, and how the store lay before and after.
type rotation struct {
	Verdict  string
	Loud     bool
	Stopped  []string
	Targets  []row
	Outcomes []fact
	Facts    []fact
	Bars     []change
	Keys     []key
	Table    []row // resource, under which key, before, after
	NoAfter  bool
	Reasons  []row
	Failures []row
	Named    []string
	More     string
	Warnings []string
}

// change is one resource before and after.
type change struct {
	Resource      string
	Before, After *bar // nil: not read
}

var tellers = map[string]string{"flag": "whoever ran it", "config": "the EncryptionConfiguration", "probe": "what an apiserver was seen to write"}

// inRotation is how many objects that were not rewritten the page names.
const inRotation = 100

func rotationOf(m *evidence.Migration, keys *palette) (*rotation, error) {
	if m == nil {
		return nil, nil
	}
	text, err := json.Marshal(m.Report)
	if err != nil {
		return nil, fmt.Errorf("encoding the migration's report: %w", err)
	}
	var r migrationReport
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("reading the migration's report: %w", err)
	}
	out := &rotation{Verdict: cmp.Or(r.Verdict, "none"), Loud: r.Verdict != verify.Complete.String(), Warnings: r.Warnings, NoAfter: m.After == nil}
	if s := r.Stopped; s != nil {
		out.Stopped = append([]string{s.Message}, some(s.Hint)...)
	}
	for _, t := range r.Targets {
		to := strings.Join(slices.DeleteFunc([]string{t.Value, t.Version}, func(s string) bool { return s == "" }), ", stored as ")
		out.Targets = append(out.Targets, row{Cells: []string{t.Resource, to, cmp.Or(t.Reason, tellers[t.From], t.From)}})
	}
	o := r.Outcomes
	for _, x := range []struct {
		term string
		n    int64
		loud bool
	}{
		{"rewritten", o.Rewritten, false}, {"as expected before", o.AlreadyCurrent, false}, {"changed by others meanwhile", o.ChangedByOthers, false},
		{"deleted meanwhile", o.Deleted, false}, {"accepted by the apiserver and not written", o.NotRewritten, true}, {"failed", o.Failed, true},
	} {
		out.Outcomes = append(out.Outcomes, fact{Term: x.term, Texts: []string{number(x.n)}, Loud: x.loud && x.n > 0})
	}
	if r.DryRun != "" {
		out.Facts = append(out.Facts, fact{Term: "Dry run", Texts: []string{fmt.Sprintf("%s: nothing was written; %s accepted", r.DryRun, count(o.Accepted, "object"))}})
	}
	out.Facts = append(out.Facts,
		fact{Term: "Started", Texts: []string{clock(r.StartedAt)}},
		fact{Term: "Finished", Texts: []string{clock(r.FinishedAt)}},
		fact{Term: "Rewritten by", Texts: []string{fmt.Sprintf("%s, in %s", cmp.Or(r.Backend, notKnown), count(int64(r.Rounds), "round"))}})
	if m.Before != nil {
		out.Facts = append(out.Facts, fact{Term: "Revision before", Texts: []string{number(m.Before.Source.Revision)}})
	}
	if m.After != nil {
		out.Facts = append(out.Facts, fact{Term: "Revision after", Texts: []string{number(m.After.Source.Revision)}})
	} else {
		out.Facts = append(out.Facts, fact{Term: "Revision after", Texts: []string{"none: etcd was not read again"}, Loud: true})
	}
	if s := r.Settled; s != nil {
		out.Facts = append(out.Facts, fact{Term: "Watched after the last write", Texts: []string{fmt.Sprintf("for %.0f s: %s, %s late", s.Seconds, count(s.Writes, "write"), number(s.Late))}, Loud: s.Late > 0})
	}
	if s := r.Snapshot; s != nil {
		out.Facts = append(out.Facts, fact{Term: "Snapshot before the first write", Texts: []string{s.Path, "sha256:" + s.SHA256}, Code: true})
	}
	var elsewhere []string
	for _, e := range r.Elsewhere {
		text := e.Resource
		if e.Objects != nil {
			text += fmt.Sprintf(": %s under %s", count(*e.Objects, "object"), e.Value)
		}
		if e.Note != "" {
			text += ": " + e.Note
		}
		elsewhere = append(elsewhere, text)
	}
	if elsewhere != nil {
		out.Facts = append(out.Facts, fact{Term: "Other resources, under another key", Texts: elsewhere})
	}
	for _, x := range r.Reasons {
		text := x.Message
		if x.Expected != "" && x.Found != "" {
			text += fmt.Sprintf(" (expected %s, found %s)", x.Expected, x.Found)
		}
		out.Reasons = append(out.Reasons, row{Cells: []string{string(x.Code), x.Resource, number(x.Objects), text}, Loud: x.Severity == verify.Error})
	}
	for _, f := range m.Failures {
		out.Failures = append(out.Failures, row{Cells: []string{f.Resource, f.Code, number(f.Objects)}, Loud: true})
	}
	for _, u := range m.NotRewritten {
		why := u.Text
		if u.By != "" {
			why += ", by " + u.By
		}
		out.Named = append(out.Named, strings.TrimSuffix(u.Key+": "+why, ": "))
	}
	if n := len(out.Named); n > inRotation {
		out.Named = out.Named[:inRotation]
		out.More = fmt.Sprintf("and %s more: %s names them all", number(int64(n-inRotation)), evidence.MigrationFile)
	}
	out.compare(r.Targets, m, keys)
	return out, nil
}

// compare counts the objects of the targets under each key, before and after. Where no key was asked for, versions are what differs.
func (r *rotation) compare(targets []migrationTarget, m *evidence.Migration, keys *palette) {
	type place struct{ resource, label, hash string }
	counts := make(map[place][2]int64)
	keyed := make(map[string]bool) // resources that are to be encrypted
	for i, report := range []*audit.Report{m.Before, m.After} {
		if report == nil {
			continue
		}
		for _, g := range report.Groups {
			resource := verify.Resource{Group: g.Group, Name: g.Resource}
			t := slices.IndexFunc(targets, func(t migrationTarget) bool { return t.covers(resource) })
			if t < 0 && len(targets) > 0 {
				continue
			}
			e := g.AtRest
			at := place{resource: resource.String(), label: keyName(string(e.Provider), e.Version, e.Key, e.KeyID), hash: e.KeyID}
			if t < 0 || targets[t].Value != "" && targets[t].Value != string(atrest.Identity) {
				keyed[at.resource] = true
			}
			if t >= 0 && targets[t].Version != "" && g.Stored != nil {
				at.label += ", " + g.Stored.APIVersion
			}
			n := counts[at]
			n[i] += g.Objects
			counts[at] = n
		}
	}
	places := slices.SortedFunc(maps.Keys(counts), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.resource, b.resource), cmp.Compare(a.label, b.label), cmp.Compare(a.hash, b.hash))
	})
	segments := make(map[string][2][]segment)
	for _, at := range places {
		n := counts[at]
		after := number(n[1])
		if m.After == nil {
			after = "not read"
		}
		loud := strings.HasPrefix(at.label, unencrypted) && keyed[at.resource]
		r.Table = append(r.Table, row{Cells: []string{at.resource, at.label, number(n[0]), after}, Loud: loud && (n[1] > 0 || m.After == nil)})
		fill := "plain"
		if !loud {
			k := keys.key(at.label, at.hash)
			fill = k.Fill
			if !slices.Contains(r.Keys, k) {
				r.Keys = append(r.Keys, k)
			}
		}
		s := segments[at.resource]
		for i := range s {
			if n[i] > 0 {
				s[i] = append(s[i], segment{Fill: fill, Label: at.label, count: n[i], Objects: number(n[i]), Loud: loud})
			}
		}
		segments[at.resource] = s
	}
	for _, resource := range slices.Sorted(maps.Keys(segments)) {
		s := segments[resource]
		c := change{Resource: resource, Before: newBar(resource+" before", s[0])}
		if m.After != nil {
			c.After = newBar(resource+" after", s[1])
		}
		r.Bars = append(r.Bars, c)
	}
}

// covers tells whether the target is the resource, or stands for it.
func (t migrationTarget) covers(r verify.Resource) bool {
	target, err := verify.ParseResource(t.Resource)
	return t.Resource == r.String() || err == nil && target.Covers(r)
}
