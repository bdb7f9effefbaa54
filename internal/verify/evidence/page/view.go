package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/svmctl/svmctl/internal/verify/evidence"
)

// view is the document in the words of the page. What is fixed text of the templates is not in it.
type view struct {
	Cluster      string
	Summary      string
	Plaintext    string // how many objects lie there unencrypted, as a sentence
	Loud         bool   // some do
	Facts        []fact
	Claims       []claim
	LookedAt     []point
	NotLookedAt  []point
	NotJudged    []row
	Store        store
	Rotation     *rotation
	Keys         *keysAsked
	APIServers   servers
	Completeness []fact
	Reconciled   *reconciled
	Exceptions   []exception
	Limitations  []limitation
	Provenance   []fact
	Controls     []framework
	ControlCount int
	Verify       verification
	Files        []file
}

// fact is a term and what is to be said of it.
type fact struct {
	Term  string
	Texts []string
	Code  bool // IDs and digests
	Loud  bool
}

// point is one thing that was looked at, or was not.
type point struct {
	Head  string
	Texts []string
	Loud  bool
}

// row of a table.
type row struct {
	Cells []string
	Loud  bool
}

type claim struct {
	Anchor      string
	ID          string
	Statement   string
	Result      string // pass, fail or inconclusive, and nothing else: it names a shape
	Word        string
	Why         []string
	Basis       []string
	Limitations []reference
	Exceptions  []reference
	Controls    []numbers
	SpeaksTo    string // how many controls
}

// numbers are the controls of one framework, such as NIST-800-53r5 with SC-28 and SC-12.
type numbers struct {
	Framework string
	Numbers   []string
}

// reference names something that stands elsewhere on the page; without an anchor it does not.
type reference struct{ Text, Anchor string }

type limitation struct{ Anchor, ID, Text string }

// framework is the controls of one of them that the claims speak to.
type framework struct {
	Name     string
	Controls []control
}

type control struct {
	Number, About, Shows, CannotShow, Source string
	Claims                                   []reference
}

type verification struct {
	Signed      bool
	Algorithm   string
	Fingerprint string
	Own         literal
	Cosign      literal
}

type file struct {
	Name  string
	About string
}

const notKnown = "not known"

func newView(d *evidence.Document) (*view, error) {
	s := d.Scan
	v := &view{Cluster: cmp.Or(s.Cluster.Label, "a cluster without a label")}
	for i, l := range s.Limitations {
		v.Limitations = append(v.Limitations, limitation{Anchor: fmt.Sprintf("limitation-%d", i+1), ID: l.ID, Text: l.Text})
	}
	v.Exceptions = exceptionsOf(d)
	for i, c := range s.Claims {
		v.Claims = append(v.Claims, v.claimOf(i, c))
	}
	v.Summary = summary(s.Claims)
	v.Plaintext, v.Loud = plaintext(s)
	v.Facts = headFacts(s)
	v.LookedAt = lookedAt(s)
	v.NotLookedAt = notLookedAt(d)
	for _, n := range slices.SortedStableFunc(slices.Values(s.Scope.NotJudged), func(a, b evidence.NotJudged) int { return cmp.Compare(b.Plaintext, a.Plaintext) }) {
		v.NotJudged = append(v.NotJudged, row{Cells: []string{cmp.Or(n.Resource, "(unknown)"), number(n.Objects), number(n.Plaintext), n.Why}})
	}
	keys := &palette{}
	v.Store = storeOf(s, keys)
	var err error
	if v.Rotation, err = rotationOf(d.Migration, keys); err != nil {
		return nil, err
	}
	if v.Keys, err = keysOf(d.Keys); err != nil {
		return nil, err
	}
	v.APIServers = serversOf(d.APIServers)
	v.Completeness, v.Reconciled = completeness(s.Completeness)
	v.Provenance = provenance(s)
	v.Controls, v.ControlCount = v.controlsOf(s.Claims)
	v.Verify = verificationOf(d)
	for _, name := range d.Files {
		v.Files = append(v.Files, file{Name: name, About: abouts[name]})
	}
	return v, nil
}

func (v *view) claimOf(i int, c evidence.Claim) claim {
	out := claim{
		Anchor: fmt.Sprintf("claim-%d", i+1), ID: c.ID, Statement: c.Statement, Why: c.Why, Basis: c.Basis, Controls: numbersOf(c.Controls), SpeaksTo: count(int64(len(c.Controls)), "control"),
		Result: string(c.Result), Word: words[c.Result],
	}
	if out.Word == "" {
		out.Result, out.Word = string(evidence.Inconclusive), fmt.Sprintf("Inconclusive (%s)", c.Result)
	}
	for _, id := range c.Limitations {
		ref := reference{Text: id}
		for _, l := range v.Limitations {
			if l.ID == id {
				ref.Anchor = l.Anchor
			}
		}
		out.Limitations = append(out.Limitations, ref)
	}
	for _, id := range c.Exceptions {
		ref := reference{Text: id}
		for _, e := range v.Exceptions {
			if e.ID == id {
				ref.Anchor = e.Anchor
			}
		}
		out.Exceptions = append(out.Exceptions, ref)
	}
	return out
}

// numbersOf takes IDs apart.
func numbersOf(ids []string) []numbers {
	var out []numbers
	for _, id := range ids {
		framework, number, cut := strings.Cut(id, ":")
		if !cut {
			framework, number = "", id
		}
		i := slices.IndexFunc(out, func(n numbers) bool { return n.Framework == framework })
		if i < 0 {
			i, out = len(out), append(out, numbers{Framework: framework})
		}
		out[i].Numbers = append(out[i].Numbers, number)
	}
	return out
}

var words = map[evidence.Result]string{evidence.Pass: "Pass", evidence.Fail: "Fail", evidence.Inconclusive: "Inconclusive"}

// summary counts the claims. It gives no verdict of its own: there is none over all of them.
func summary(claims []evidence.Claim) string {
	var pass, fail int64
	for _, c := range claims {
		switch c.Result {
		case evidence.Pass:
			pass++
		case evidence.Fail:
			fail++
		}
	}
	verb := func(n int64, one, more string) string {
		if n == 1 {
			return "1 " + one
		}
		return number(n) + " " + more
	}
	parts := []string{}
	if fail > 0 {
		parts = append(parts, verb(fail, "fails", "fail"))
	}
	if n := int64(len(claims)) - pass - fail; n > 0 {
		parts = append(parts, verb(n, "is inconclusive", "are inconclusive"))
	}
	if pass > 0 {
		parts = append(parts, verb(pass, "passes", "pass"))
	}
	switch len(parts) {
	case 0:
		return "No claim was judged."
	case 1:
		return fmt.Sprintf("Of %s, %s.", count(int64(len(claims)), "claim"), parts[0])
	}
	return fmt.Sprintf("Of %s, %s and %s.", count(int64(len(claims)), "claim"), strings.Join(parts[:len(parts)-1], ", "), parts[len(parts)-1])
}

// plaintext tells how much lies unencrypted where it is expected not to, and whether anything does.
func plaintext(s *evidence.Scan) (string, bool) {
	var expected, plain, covered int64
	for _, p := range s.Population {
		if !p.Expected {
			continue
		}
		expected += p.Objects
		if p.State == evidence.StatePlaintext {
			plain += p.Objects
			if p.Exception != "" {
				covered += p.Objects
			}
		}
	}
	text := fmt.Sprintf("Encryption is expected of %s that were read: ", count(expected, "object"))
	switch {
	case expected == 0:
		text = "Encryption is expected of none of the objects that were read"
	case plain == 0:
		text += "none is unencrypted"
	case plain == 1:
		text += "1 is unencrypted"
	default:
		text += number(plain) + " are unencrypted"
	}
	if covered > 0 {
		text += fmt.Sprintf(", %s of them under an approved exception", number(covered))
	}
	if !s.Completeness.Whole {
		text += "; not every key was read"
	}
	return text + ".", plain > 0
}

// clock writes a moment for people, in UTC.
func clock(t time.Time) string {
	if t.IsZero() {
		return notKnown
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

func headFacts(s *evidence.Scan) []fact {
	facts := []fact{{Term: "Revision of etcd", Texts: []string{number(s.AsOf.Revision)}}}
	read := clock(s.Time.StartedAt)
	if took := s.Time.FinishedAt.Sub(s.Time.StartedAt); took > 0 {
		read += fmt.Sprintf(", for %.1f s", took.Seconds())
	}
	facts = append(facts, fact{Term: "Read", Texts: []string{read}}, fact{Term: "Run by", Texts: actors(s.Actor)[:1]})
	if s.AsOf.Snapshot != "" {
		facts = append(facts,
			fact{Term: "Snapshot file", Texts: []string{s.AsOf.Snapshot}, Code: true},
			fact{Term: "Its SHA-256", Texts: []string{cmp.Or(s.AsOf.SnapshotHash, notKnown)}, Code: true})
	}
	facts = append(facts, fact{Term: "UID of namespace kube-system", Texts: []string{cmp.Or(s.Cluster.KubeSystemNamespaceUID, notKnown)}, Code: true})
	if s.Cluster.KubernetesVersion != "" {
		facts = append(facts, fact{Term: "Kubernetes", Texts: []string{s.Cluster.KubernetesVersion}})
	}
	if s.AsOf.Snapshot == "" || s.Cluster.EtcdClusterID != "" {
		facts = append(facts, fact{Term: "etcd cluster ID", Texts: []string{cmp.Or(s.Cluster.EtcdClusterID, notKnown)}, Code: true})
		var members []string
		for _, m := range s.Cluster.EtcdMembers {
			members = append(members, strings.TrimSpace(m.ID+" "+m.Name))
		}
		if members == nil {
			members = []string{notKnown}
		}
		facts = append(facts, fact{Term: "etcd members", Texts: members, Code: true})
	}
	return facts
}

// some is a text as a list, empty if it is.
func some(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

// controlsOf are those that the claims speak to, in the order of evidence.Controls; of one that is not there the ID is known alone.
func (v *view) controlsOf(claims []evidence.Claim) ([]framework, int) {
	speak := make(map[string][]reference)
	var order []string
	for i, c := range claims {
		for _, id := range c.Controls {
			if speak[id] == nil {
				order = append(order, id)
			}
			speak[id] = append(speak[id], reference{Text: fmt.Sprintf("%s %s", c.ID, v.Claims[i].Result), Anchor: v.Claims[i].Anchor})
		}
	}
	var out []framework
	add := func(name string, c control) {
		i := slices.IndexFunc(out, func(f framework) bool { return f.Name == name })
		if i < 0 {
			i, out = len(out), append(out, framework{Name: name})
		}
		out[i].Controls = append(out[i].Controls, c)
	}
	for _, c := range evidence.Controls() {
		if speak[c.ID] != nil {
			add(c.Framework, control{Number: c.Number, About: c.About, Shows: c.Shows, CannotShow: c.CannotShow, Source: c.Source, Claims: speak[c.ID]})
			delete(speak, c.ID)
		}
	}
	for _, id := range order {
		if speak[id] != nil {
			add("Others", control{Number: id, Claims: speak[id]})
		}
	}
	return out, len(order)
}

func verificationOf(d *evidence.Document) verification {
	if d.Signer == nil {
		return verification{Own: "svmctl evidence verify .", Cosign: evidence.Attest}
	}
	return verification{
		Signed: true, Algorithm: d.Signer.Algorithm, Fingerprint: d.Signer.Fingerprint,
		Own: "svmctl evidence verify --public-key KEY.pub .",
		Cosign: "cosign verify-blob-attestation --key KEY.pub --bundle " + evidence.SignatureFile +
			" --type " + evidence.PredicateType + " --insecure-ignore-tlog=true " + evidence.ScanFile,
	}
}

var abouts = map[string]string{
	evidence.ScanFile:       "all of this for machines, but for single objects",
	evidence.RecordsFile:    "a line for each object",
	evidence.CSVFile:        "the same for a spreadsheet",
	evidence.APIServersFile: "each apiserver, what it has loaded, and what it has written",
	evidence.ExceptionsFile: "approved deviations",
	evidence.MigrationFile:  "the rotation: before, after, and what became of the objects",
	evidence.KeysFile:       "where each key is needed, and whether it can be removed",
	evidence.OSCALFile:      "the claims as OSCAL assessment results",
	evidence.JUnitFile:      "the claims for a pipeline",
	evidence.PrometheusFile: "the claims and counts for Prometheus",
	evidence.HTMLFile:       "this page",
	evidence.MarkdownFile:   "this page in short, for tickets and pull requests",
	evidence.VerifyFile:     "how to check all of it, with public tools too",
	evidence.StatementFile:  "the in-toto statement that names every other file by its digest",
	evidence.SignatureFile:  "the signature of the statement",
	evidence.PublicKeyFile:  "the public key of the signer, for comparison",
	evidence.SumsFile:       "the digests, for sha256sum -c",
}
