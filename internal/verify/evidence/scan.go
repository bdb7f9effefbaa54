package evidence

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/verify"
)

// identity is the name space of the IDs of scans.
var identity = uuid.NewSHA1(uuid.NameSpaceURL, []byte(PredicateType))

// scan is scan.json.
func (o *Observed) scan(r *recorded) *Scan {
	report := o.Report
	s := &Scan{
		APIVersion: APIVersion, Kind: "EvidenceScan", Schema: SchemaVersion, Tool: o.Tool, Actor: o.Actor,
		Time:    Time{StartedAt: report.StartedAt, FinishedAt: o.FinishedAt, Clock: o.Clock, Corroboration: o.Corroboration},
		Cluster: o.Cluster, Claims: o.claims(r), Config: outline(o.Config), Scope: o.scope(r),
		AsOf: AsOf{Revision: report.Source.Revision, Snapshot: report.Source.Path, SnapshotHash: report.Source.SHA256, Later: o.Later, LaterUnknown: o.LaterUnknown,
			ValidUntil: o.ValidUntil},
		Completeness: Completeness{Read: report.Totals.Keys, Counted: report.Counted, Whole: report.Scope.Whole, Outside: report.Scope.Outside,
			API: o.Reconciliation, APIWhy: o.NotReconciled},
		Population: r.population(), Merkle: r.merkle, Redaction: o.Redactor.described(), Exceptions: o.Exceptions.used(), Previous: o.Previous, Audit: report,
	}
	for _, reason := range report.Reasons {
		if reason.Code == verify.NotRead && reason.Resource == "" {
			s.Completeness.Missing = reason.Message
		}
	}
	if o.file() {
		s.AsOf.LaterUnknown = cmp.Or(s.AsOf.LaterUnknown, "a file was read")
	}
	s.Cluster.Unknown = append([]string{}, s.Cluster.Unknown...)
	s.Cluster.EtcdMembers = append([]Member{}, s.Cluster.EtcdMembers...)
	s.Time.Corroboration = append([]Corroboration{}, s.Time.Corroboration...)
	s.Limitations = limitations(s, o.openedAll(r), o.placesLookedThrough(), o.providers())
	for i := range s.Claims {
		s.Claims[i].Limitations = slices.DeleteFunc(s.Claims[i].Limitations, func(id string) bool {
			return !slices.ContainsFunc(s.Limitations, func(l Limitation) bool { return l.ID == id })
		})
	}
	s.ID = uuid.NewSHA1(identity, fmt.Appendf(nil, "%s\x00%s\x00%s\x00%d\x00%s\x00%s", s.Cluster.KubeSystemNamespaceUID, s.Cluster.EtcdClusterID, s.AsOf.SnapshotHash,
		s.AsOf.Revision, s.Merkle.Root, s.Time.StartedAt.Format("20060102T150405.000000000Z"))).String()
	return s
}

// outline is an EncryptionConfiguration by its names.
func outline(c *encryption.Configuration) *Outline {
	if c == nil {
		return nil
	}
	out := &Outline{Hash: c.Hash, Rules: []OutlineRule{}}
	for _, rule := range c.Rules {
		r := OutlineRule{Resources: []string{}, Providers: []string{}}
		for _, p := range rule.Patterns {
			r.Resources = append(r.Resources, p.String())
		}
		for _, i := range rule.Keys {
			r.Providers = append(r.Providers, verify.Describe(c.Keys[i].AtRest()))
		}
		out.Rules = append(out.Rules, r)
	}
	return out
}

// placesLookedThrough are those in files of etcd's.
func (o *Observed) placesLookedThrough() []string {
	if o.Residuals == nil {
		return nil
	}
	return o.Residuals.Places
}

// openedAll tells whether every encrypted value was opened.
func (o *Observed) openedAll(r *recorded) bool {
	return !slices.ContainsFunc(r.counts, func(c counted) bool {
		return c.form.entry.AtRest.Provider != atrest.Identity && c.form.entry.Opened != etcdscan.Verified
	})
}

// providers are those found, as provider and version.
func (o *Observed) providers() map[string]bool {
	found := make(map[string]bool)
	for _, e := range o.Report.Entries {
		found[strings.TrimSpace(string(e.AtRest.Provider)+" "+e.AtRest.Version)] = true
	}
	return found
}

// always is what no scan of etcd looks at.
var always = []string{
	"the disks of nodes, the kubelet, and Secrets that were copied elsewhere",
	"what goes on inside a KMS, and who can use its keys",
	"the memory of apiservers",
}

// scope tells what was looked at, and what was not.
func (o *Observed) scope(r *recorded) Scope {
	report := o.Report
	s := Scope{Prefixes: report.Scope.Prefixes, Resources: o.expectedResources(), NotJudged: []NotJudged{}, NotCovered: []string{}, Overrides: append([]string{}, o.Overrides...)}
	place := "the etcd cluster named here"
	if o.file() {
		place = "the file " + report.Source.Path
	}
	s.Statement = fmt.Sprintf("Every key under %s of %s, at revision %d.", strings.Join(report.Scope.Prefixes, ", "), place, report.Source.Revision)
	for _, name := range o.APIServers.overridden() {
		if !slices.Contains(s.Overrides, name) {
			s.Overrides = append(s.Overrides, name)
		}
	}
	if len(s.Overrides) > 0 {
		s.NotCovered = append(s.NotCovered, "another etcd, in which the apiservers keep "+strings.Join(s.Overrides, ", "))
	}
	if len(o.LeftOut) > 0 {
		s.NotCovered = append(s.NotCovered, "what other apiservers serve, wherever they keep it: "+strings.Join(o.LeftOut, ", "))
	}
	if !report.Scope.Found {
		s.NotCovered = append(s.NotCovered, "whatever lies in this etcd beside "+strings.Join(report.Scope.Prefixes, ", "))
	}
	if len(s.Overrides) == 0 && !o.APIServers.OverridesKnown {
		s.NotCovered = append(s.NotCovered, "other etcds, should apiservers keep resources in some (--etcd-servers-overrides): not all of them told")
	}
	if len(o.LeftOut) == 0 && o.Reconciliation == nil {
		s.NotCovered = append(s.NotCovered, "what other apiservers serve, and keep elsewhere")
	}
	if n := len(r.notJudged()); n > 0 {
		s.NotCovered = append(s.NotCovered, fmt.Sprintf("whether it is right that %d other kinds of keys, which are listed here, are not expected to be encrypted", n))
	}
	if report.History == nil {
		s.NotCovered = append(s.NotCovered, "older revisions that etcd still gives until it is compacted")
	}
	if o.Residuals == nil {
		s.NotCovered = append(s.NotCovered, "etcd's free pages and its write-ahead log", "snapshots and backups")
	} else {
		s.NotCovered = append(s.NotCovered, "files of etcd's other than those that were given, and backups")
	}
	s.NotCovered = append(s.NotCovered, always...)
	s.NotJudged = r.notJudged()
	return s
}

// notJudged are the resources of which no encryption was expected.
func (r *recorded) notJudged() []NotJudged {
	by := make(map[string]*NotJudged)
	for _, c := range r.counts {
		if c.form.expected {
			continue
		}
		name := resourceName(c.form.entry)
		n := by[name]
		if n == nil {
			n = &NotJudged{Resource: name, Why: "nothing was expected of it"}
			switch {
			case c.form.entry.Resource == "":
				n.Why = "it is no object of the API"
			case c.form.judged:
				n.Why = "it is not expected to be encrypted"
			}
			by[name] = n
		}
		n.Objects += c.objects
		if c.form.entry.AtRest.Provider == atrest.Identity {
			n.Plaintext += c.objects
		}
	}
	all := []NotJudged{}
	for _, name := range sortedKeys(by) {
		all = append(all, *by[name])
	}
	return all
}
