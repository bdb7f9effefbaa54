// Package oscal writes what a bundle says as OSCAL assessment results, for the tools that assessors keep their records in. It never
// concludes: there are observations, and no findings.
package oscal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/svmctl/svmctl/internal/verify/evidence"
)

const (
	oscalVersion = "1.1.3"
	// namespace of the props that are svmctl's own.
	namespace = "https://github.com/svmctl/svmctl/ns/oscal"
)

// files are those of a bundle that observations rest on. Their digests are not known when this one is written: the statement has them.
var files = []struct{ name, mediaType, about string }{
	{evidence.ScanFile, "application/json", "What was read, when, by whom, and each claim."},
	{evidence.RecordsFile, "application/gzip", "One record for each object, as JSON lines."},
	{evidence.APIServersFile, "application/json", "What each apiserver has loaded and written."},
	{evidence.MigrationFile, "application/json", "The rotation: before, after, and what came of each rewrite."},
	{evidence.KeysFile, "application/json", "Which keys are in use, and by what."},
	{evidence.ExceptionsFile, "application/json", "The approved deviations."},
	{evidence.StatementFile, "application/vnd.in-toto+json", "The claims, bound to the other files by their digests."},
	{evidence.SignatureFile, "application/vnd.dev.sigstore.bundle.v0.3+json", "The statement, signed."},
}

// Write writes d as OSCAL assessment results.
func Write(w io.Writer, d *evidence.Document) error {
	scan, err := uuid.Parse(d.Scan.ID)
	if err != nil {
		return fmt.Errorf("the scan's ID %q: %w", d.Scan.ID, err)
	}
	if d.Scan.Time.StartedAt.IsZero() || d.Scan.Time.FinishedAt.IsZero() {
		return errors.New("the scan does not tell when it was made")
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(document{writer{Document: d, scan: scan}.assessmentResults()})
}

type writer struct {
	*evidence.Document
	scan uuid.UUID
}

// id is the UUID of a part of the document: the same for the same scan.
func (w writer) id(part string) string { return uuid.NewSHA1(w.scan, []byte("oscal "+part)).String() }

func (w writer) assessmentResults() assessmentResults {
	plan := resource{
		UUID: w.id("plan"), Title: "svmctl built-in assessment plan",
		Description: "Read every key in the prefixes at one revision of etcd, tell from the stored bytes how each value is encrypted, compare the number of keys with etcd's own count, and ask each apiserver what it has loaded and written.",
	}
	return assessmentResults{
		UUID: w.id("assessment-results"),
		Metadata: metadata{
			Title: prose("Encryption at rest in etcd: " + w.cluster()), LastModified: stamp(w.Scan.Time.FinishedAt), Version: "1", OSCALVersion: oscalVersion,
			Props:   props("scan", w.Scan.ID),
			Remarks: "These are observations. Whether a control is satisfied is the assessor's to say.",
		},
		ImportAP:   link{"#" + plan.UUID},
		Results:    []result{w.result()},
		BackMatter: backMatter{append([]resource{plan}, w.resources()...)},
	}
}

// cluster is the best name there is.
func (w writer) cluster() string {
	c := w.Scan.Cluster
	for _, name := range []string{c.Label, c.KubeSystemNamespaceUID, c.EtcdClusterID, w.Scan.AsOf.SnapshotHash} {
		if name != "" {
			return name
		}
	}
	return "a cluster that told no name"
}

func (w writer) result() result {
	s := w.Scan
	c := s.Completeness
	r := result{
		UUID: w.id("result"), Title: fmt.Sprintf("etcd revision %d", s.AsOf.Revision), Description: prose(s.Scope.Statement),
		Start: stamp(s.Time.StartedAt), End: stamp(s.Time.FinishedAt),
		Props: props("keys-read", decimal(c.Read), "keys-counted", decimal(c.Counted), "whole", strconv.FormatBool(c.Whole), "missing", c.Missing,
			"merkle-tree-size", decimal(s.Merkle.TreeSize), "redaction", string(s.Redaction.Mode), "clock", s.Time.Clock),
		LocalDefinitions: w.localDefinitions(),
		ReviewedControls: w.reviewedControls(),
	}
	for _, claim := range s.Claims {
		r.Observations = append(r.Observations, w.observation(claim))
	}
	for _, resource := range s.Scope.Resources {
		r.Props = append(r.Props, props("resource", resource)...)
	}
	r.Remarks = paragraphs(w.limits())
	return r
}

// limits are what was not looked at, and what cannot be told from what was.
func (w writer) limits() []string {
	s := w.Scan
	remarks := []string{}
	for _, what := range s.Scope.NotCovered {
		remarks = append(remarks, prose("Not covered: "+what))
	}
	for _, override := range s.Scope.Overrides {
		remarks = append(remarks, prose("Kept in another etcd: "+override))
	}
	for _, n := range s.Scope.NotJudged {
		remarks = append(remarks, prose(fmt.Sprintf("Not judged: %s: %d objects, %d of them in plaintext: %s", n.Resource, n.Objects, n.Plaintext, n.Why)))
	}
	for _, what := range s.Cluster.Unknown {
		remarks = append(remarks, prose("Not known: "+what))
	}
	if later := s.AsOf.Later; later != nil {
		remarks = append(remarks, fmt.Sprintf("After the revision, until %d: %d writes, of these %d in plaintext, %d under another key, %d not understood.",
			later.HeadRevision, later.Writes, later.Plaintext, later.OtherKey, later.Unknown))
	} else if s.AsOf.LaterUnknown != "" {
		remarks = append(remarks, prose("After the revision nobody looked: "+s.AsOf.LaterUnknown))
	}
	for _, l := range s.Limitations {
		remarks = append(remarks, prose(l.ID+": "+l.Text))
	}
	return remarks
}

func (w writer) localDefinitions() localDefinitions {
	s := w.Scan
	etcd := component{
		UUID: w.id("etcd"), Type: "service", Title: prose("etcd of " + w.cluster()), Description: "The store that the Kubernetes API keeps its objects in.",
		Props: props("cluster-label", s.Cluster.Label, "kube-system-namespace-uid", s.Cluster.KubeSystemNamespaceUID,
			"kubernetes-version", s.Cluster.KubernetesVersion, "etcd-cluster-id", s.Cluster.EtcdClusterID, "snapshot-sha256", s.AsOf.SnapshotHash),
		Status: status{State: "operational"},
	}
	if s.AsOf.Snapshot != "" {
		etcd.Status = status{State: "other", Remarks: "A snapshot of it was read."}
	}
	for _, m := range s.Cluster.EtcdMembers {
		etcd.Props = append(etcd.Props, props("etcd-member-id", m.ID)...)
	}
	for _, prefix := range s.Scope.Prefixes {
		etcd.Props = append(etcd.Props, props("etcd-prefix", prefix)...)
	}
	tool := component{
		UUID: w.id("tool"), Type: "software", Title: "svmctl", Description: "Reads how objects are encrypted at rest in etcd.",
		Props:  props("version", s.Tool.Version, "git-commit", s.Tool.GitCommit, "go-version", s.Tool.GoVersion, "binary-sha256", s.Tool.BinarySHA256),
		Status: status{State: "operational"},
	}
	host := platform{
		UUID: w.id("platform"), Title: "Where svmctl ran", Uses: []uses{{tool.UUID}},
		Props: props("host", s.Actor.Host, "os-user", s.Actor.OSUser, "etcd-user", s.Actor.EtcdUser),
	}
	if user := s.Actor.Kubernetes; user != nil {
		host.Props = append(host.Props, props("kubernetes-user", user.Username)...)
	}
	if cert := s.Actor.EtcdClientCert; cert != nil {
		host.Props = append(host.Props, props("etcd-client-subject", cert.Subject, "etcd-client-sha256", cert.SHA256)...)
	}
	if ci := s.Actor.CI; ci != nil {
		host.Props = append(host.Props, props("ci-run", ci.RunURL)...)
	}
	return localDefinitions{Components: []component{etcd}, AssessmentAssets: assessmentAssets{[]component{tool}, []platform{host}}}
}

// reviewedControls are those of NIST's catalogue that a claim of the document speaks to.
func (w writer) reviewedControls() reviewedControls {
	ids := []string{}
	for _, c := range evidence.Controls() {
		if c.OSCAL != "" && slices.ContainsFunc(w.Scan.Claims, func(claim evidence.Claim) bool { return slices.Contains(c.Claims, claim.ID) }) {
			ids = append(ids, c.OSCAL)
		}
	}
	slices.Sort(ids)
	chosen := selection{Description: "Controls of NIST SP 800-53 Rev. 5 that an observation speaks to."}
	for _, id := range slices.Compact(ids) {
		chosen.Include = append(chosen.Include, controlRef{id})
	}
	if len(chosen.Include) == 0 {
		chosen.Description = "None: no claim was made that speaks to one."
	}
	return reviewedControls{Description: "Observed in part, for an assessor to judge.", Selections: []selection{chosen}}
}

func (w writer) observation(claim evidence.Claim) observation {
	s := w.Scan
	o := observation{
		UUID: w.id("claim " + claim.ID), Title: prose(claim.ID), Description: prose(claim.Statement),
		Props:   props("claim", claim.ID, "result", string(claim.Result), "etcd-revision", decimal(s.AsOf.Revision)),
		Methods: []string{"TEST"}, Types: []string{"control-objective"},
		Origins:   []origin{{[]actor{{"tool", w.id("tool")}}}},
		Subjects:  []subject{{w.id("etcd"), "component"}},
		Collected: stamp(s.Time.FinishedAt),
	}
	o.Props = append(o.Props, w.population()...)
	o.Props = append(o.Props, props("merkle-root", s.Merkle.Root)...)
	for _, list := range []struct {
		name   string
		values []string
	}{{"basis", claim.Basis}, {"limitation", claim.Limitations}, {"control", claim.Controls}} {
		for _, value := range list.values {
			o.Props = append(o.Props, props(list.name, value)...)
		}
	}
	for _, id := range claim.Exceptions {
		for _, p := range props("exception", id) {
			p.Remarks = w.exception(id)
			o.Props = append(o.Props, p)
		}
	}
	remarks := []string{}
	for _, why := range claim.Why {
		remarks = append(remarks, prose(why))
	}
	o.Remarks = paragraphs(remarks)
	for _, f := range files {
		if slices.Contains(w.Files, f.name) {
			o.RelevantEvidence = append(o.RelevantEvidence, relevant{"#" + w.id("file "+f.name), f.about})
		}
	}
	return o
}

// population counts the objects that are expected to be encrypted. It is the same for every claim: which states are at fault depends on
// what is claimed, so each is told by itself.
func (w writer) population() []property {
	var all, excepted int64
	states := make(map[evidence.State]int64)
	for _, p := range w.Scan.Population {
		if !p.Expected {
			continue
		}
		all += p.Objects
		states[p.State] += p.Objects
		if p.Exception != "" {
			excepted += p.Objects
		}
	}
	counts := props("population", decimal(all))
	counts[0].Remarks = "Objects of resources that are expected to be encrypted."
	for _, state := range []evidence.State{evidence.StateOK, evidence.StatePlaintext, evidence.StateStale, evidence.StateUnknown, evidence.StateError} {
		counts = append(counts, props("objects-"+string(state), decimal(states[state]))...)
	}
	return append(counts, props("objects-excepted", decimal(excepted))...)
}

// exception says who approved a deviation, until when, and why; its selector may name objects, and stays in the bundle's own file.
func (w writer) exception(id string) string {
	if w.Exceptions != nil {
		for _, e := range w.Exceptions.Exceptions {
			if e.ID == id {
				about := []string{prose(fmt.Sprintf("%s approved it%s, until %s, for %d objects: %s", e.Approver, ticket(e.Ticket), stamp(e.Expires), e.Objects, e.Reason))}
				if e.Expired {
					about = append(about, "It had expired when the store was read.")
				}
				return paragraphs(about)
			}
		}
	}
	return ""
}

func ticket(name string) string {
	if name == "" {
		return ""
	}
	return " (" + name + ")"
}

func (w writer) resources() []resource {
	var found []resource
	for _, f := range files {
		if slices.Contains(w.Files, f.name) {
			found = append(found, resource{
				UUID: w.id("file " + f.name), Title: f.name, Description: f.about, RLinks: []rlink{{f.name, f.mediaType}},
				Remarks: digestOf(f.name),
			})
		}
	}
	return found
}

// digestOf says where a file's digest is. The statement cannot have its own.
func digestOf(name string) string {
	if name == evidence.StatementFile || name == evidence.SignatureFile {
		return ""
	}
	return "Its SHA-256 is in " + evidence.StatementFile + "."
}

// props are properties by name and value, without those that have no value: the model has no empty ones.
func props(namesAndValues ...string) []property {
	var made []property
	for pair := range slices.Chunk(namesAndValues, 2) {
		if pair[1] != "" {
			made = append(made, property{Name: pair[0], NS: namespace, Value: line(pair[1])})
		}
	}
	return made
}

// line is a text as the model takes it: on one line, with no white space around it. Any other is quoted.
func line(s string) string {
	if strings.TrimSpace(s) == s && !strings.ContainsFunc(s, unprintable) {
		return s
	}
	return strconv.Quote(s)
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }

// prose is a text where the model takes Markdown, and says no more than the text: names come from whoever may write to etcd.
func prose(s string) string {
	var out strings.Builder
	for _, r := range line(s) {
		if strings.ContainsRune("\\`*_[]<>{}|#~&", r) {
			out.WriteByte('\\')
		}
		out.WriteRune(r)
	}
	return out.String()
}

func paragraphs(texts []string) string { return strings.Join(texts, "\n\n") }

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
