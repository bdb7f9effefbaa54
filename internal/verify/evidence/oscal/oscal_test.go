package oscal_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/svmctl/svmctl/internal/verify/evidence"
	"github.com/svmctl/svmctl/internal/verify/evidence/oscal"
)

var update = flag.Bool("update", false, "write the files that tests compare with")

// schema is NIST's, of release 1.1.3.
var schema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	file, err := os.Open(filepath.Join("testdata", "oscal_complete_schema-1.1.3.json.gz"))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	parsed, err := jsonschema.UnmarshalJSON(unpacked)
	if err != nil {
		return nil, err
	}
	const address = "http://csrc.nist.gov/ns/oscal/1.0/1.1.3/oscal-complete-schema.json"
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(address, parsed); err != nil {
		return nil, err
	}
	return compiler.Compile(address)
})

// valid tells whether NIST's schema takes a document.
func valid(t *testing.T, doc any) error {
	t.Helper()
	s, err := schema()
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

func write(t *testing.T, d *evidence.Document) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := oscal.Write(&out, d); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func parse(t *testing.T, text []byte) any {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func document() *evidence.Document {
	started := time.Date(2026, 11, 22, 13, 20, 0, 0, time.FixedZone("", 2*60*60))
	return &evidence.Document{
		Scan: &evidence.Scan{
			APIVersion: evidence.APIVersion, Kind: "EvidenceScan", ID: "5d4a0a7e-4a3c-5f0e-9d52-0c3f1a6b7c8d",
			Tool: evidence.Tool{Name: "svmctl", Version: "v1.2.3", GoVersion: "go1.26.8", BinarySHA256: strings.Repeat("ab", 32)},
			Actor: evidence.Actor{
				OSUser: "auditor", Host: "bastion-1", Kubernetes: &evidence.KubernetesUser{Username: "oidc:jane"},
				EtcdClientCert: &evidence.ClientCert{Subject: "CN=reader", SHA256: strings.Repeat("cd", 32)},
			},
			Time: evidence.Time{StartedAt: started, FinishedAt: started.Add(1500 * time.Millisecond), Clock: "local"},
			Cluster: evidence.Cluster{
				Label: "prod-eu-1", KubeSystemNamespaceUID: "0b7a4a3e-3c21-4f7e-8f0e-0a1b2c3d4e5f", KubernetesVersion: "v1.37.2", EtcdClusterID: "c8730d66636ff140",
				EtcdMembers: []evidence.Member{{ID: "8e9e05c52164694d"}, {ID: "91bc3c398fb3c146"}}, Unknown: []string{"the third member did not answer"},
			},
			Claims: []evidence.Claim{
				{
					ID: "SVM-E1", Statement: "Every object that is expected to be encrypted is.", Result: evidence.Fail, Why: []string{"1 object of secrets is in plaintext"},
					Basis: []string{"population"}, Limitations: []string{"L1"}, Exceptions: []string{"EX-7"}, Controls: []string{"NIST-800-53r5:SC-28(1)"},
				},
				{ID: "SVM-E4", Statement: "Every apiserver has loaded the same configuration.", Result: evidence.Inconclusive, Why: []string{"1 of 3 was not asked"}},
				{ID: "SVM-E8", Statement: "Nothing is left outside of the API.", Result: evidence.Pass},
			},
			Scope: evidence.Scope{
				Statement: "All keys under /registry/.", Prefixes: []string{"/registry/"}, Resources: []string{"secrets"}, NotCovered: []string{"snapshots and backups"},
				NotJudged: []evidence.NotJudged{{Resource: "pods", Objects: 4, Plaintext: 4, Why: "no provider is configured for it"}}, Overrides: []string{"events=https://127.0.0.1:3379"},
			},
			AsOf:         evidence.AsOf{Revision: 327, Later: &evidence.Later{HeadRevision: 331, Writes: 4}},
			Completeness: evidence.Completeness{Read: 12, Counted: 12, Whole: true},
			Population: []evidence.Population{
				{Resource: "secrets", Provider: "kms", Version: "v2", Key: "vault", KeyIDHash: "sha256:" + strings.Repeat("f4", 32), State: evidence.StateOK, Objects: 5, Expected: true},
				{Resource: "secrets", Provider: "aescbc", Version: "v1", Key: "key1", State: evidence.StateStale, Exception: "EX-7", Objects: 2, Expected: true},
				{Resource: "secrets", Provider: "identity", State: evidence.StatePlaintext, Objects: 1, Expected: true},
				{Resource: "pods", Provider: "identity", State: evidence.StateNotJudged, Objects: 4},
			},
			Merkle:      evidence.Merkle{Algorithm: "rfc6962-sha256", TreeSize: 12, Root: strings.Repeat("0f", 32)},
			Redaction:   evidence.Redaction{Mode: evidence.Names},
			Limitations: []evidence.Limitation{{ID: "L1", Text: "Valid for the revision alone."}},
		},
		APIServers: &evidence.APIServers{},
		Exceptions: &evidence.Exceptions{Exceptions: []evidence.Exception{{
			ID: "EX-7", Reason: "is rotated next week", Approver: "Jane Doe", Ticket: "SEC-12", Expires: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), Objects: 2,
			Selector: evidence.Selector{Resource: "secrets", Namespace: "legacy", Name: "only-in-the-selector"},
		}}},
		Files: []string{evidence.SumsFile, evidence.VerifyFile, evidence.APIServersFile, evidence.OSCALFile, evidence.RecordsFile, evidence.ScanFile, evidence.StatementFile, evidence.SignatureFile},
	}
}

func TestGolden(t *testing.T) {
	got := write(t, document())
	path := filepath.Join("testdata", "assessment-results.json")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s\n(-update writes the file)", got, want)
	}
	if again := write(t, document()); !bytes.Equal(again, got) {
		t.Error("the same document was written in another way")
	}
}

func TestWrite(t *testing.T) {
	for name, change := range map[string]func(*evidence.Document){
		"as it is":       func(*evidence.Document) {},
		"no claims":      func(d *evidence.Document) { d.Scan.Claims = nil },
		"no files":       func(d *evidence.Document) { d.Files = nil },
		"no population":  func(d *evidence.Document) { d.Scan.Population = nil },
		"no limits":      func(d *evidence.Document) { d.Scan.Scope, d.Scan.Limitations = evidence.Scope{}, nil },
		"no exceptions":  func(d *evidence.Document) { d.Exceptions = nil },
		"nobody":         func(d *evidence.Document) { d.Scan.Actor = evidence.Actor{} },
		"no cluster":     func(d *evidence.Document) { d.Scan.Cluster = evidence.Cluster{} },
		"a snapshot":     func(d *evidence.Document) { d.Scan.AsOf.Snapshot, d.Scan.AsOf.SnapshotHash = "/tmp/a.db", "00" },
		"nobody looked":  func(d *evidence.Document) { d.Scan.AsOf.Later, d.Scan.AsOf.LaterUnknown = nil, "it is a file" },
		"another claim":  func(d *evidence.Document) { d.Scan.Claims[0].ID = "SVM-E99" },
		"an empty claim": func(d *evidence.Document) { d.Scan.Claims = []evidence.Claim{{}} },
	} {
		t.Run(name, func(t *testing.T) {
			d := document()
			change(d)
			text := write(t, d)
			doc := parse(t, text)
			if err := valid(t, doc); err != nil {
				t.Fatal(err)
			}
			checkReferences(t, doc)
			if bytes.Contains(text, []byte("0001-01-01")) {
				t.Error("there is a zero time")
			}
			for _, conclusion := range []string{"findings", "satisfied", "risks"} {
				if bytes.Contains(text, []byte(`"`+conclusion)) {
					t.Errorf("there are %s", conclusion)
				}
			}
			if bytes.Contains(text, []byte("only-in-the-selector")) {
				t.Error("a selector's name is shown")
			}
		})
	}
}

// checkReferences follows every reference in a document, and looks for UUIDs that two parts have.
func checkReferences(t *testing.T, doc any) {
	t.Helper()
	defined := make(map[string]bool)
	walk(doc, func(key, value string) {
		if key == "uuid" {
			if defined[value] {
				t.Errorf("%s is defined twice", value)
			}
			defined[value] = true
		}
	})
	walk(doc, func(key, value string) {
		reference, local := strings.CutPrefix(value, "#")
		switch key {
		case "href":
			if local && !defined[reference] {
				t.Errorf("%s leads nowhere", value)
			}
		case "subject-uuid", "actor-uuid", "component-uuid":
			if !defined[value] {
				t.Errorf("%s %s leads nowhere", key, value)
			}
		}
	})
}

// walk visits every text in a document.
func walk(node any, visit func(key, value string)) {
	switch node := node.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(node)) {
			if text, is := node[key].(string); is {
				visit(key, text)
			}
			walk(node[key], visit)
		}
	case []any:
		for _, item := range node {
			if text, is := item.(string); is {
				visit("", text)
			}
			walk(item, visit)
		}
	}
}

// TestSchemaRefuses breaks a document in one place at a time: a check that cannot fail is none.
func TestSchemaRefuses(t *testing.T) {
	object := func(node any, way ...any) map[string]any {
		for _, step := range way {
			switch step := step.(type) {
			case string:
				node = node.(map[string]any)[step]
			case int:
				node = node.([]any)[step]
			}
		}
		return node.(map[string]any)
	}
	results := func(doc any) map[string]any { return object(doc, "assessment-results") }
	first := func(doc any) map[string]any { return object(doc, "assessment-results", "results", 0) }
	observed := func(doc any) map[string]any {
		return object(doc, "assessment-results", "results", 0, "observations", 0)
	}
	for name, damage := range map[string]func(doc any){
		"no UUID":              func(doc any) { delete(results(doc), "uuid") },
		"a UUID of version 1":  func(doc any) { results(doc)["uuid"] = "5d4a0a7e-4a3c-1f0e-9d52-0c3f1a6b7c8d" },
		"no import":            func(doc any) { delete(results(doc), "import-ap") },
		"no results":           func(doc any) { results(doc)["results"] = []any{} },
		"no start":             func(doc any) { delete(first(doc), "start") },
		"a zero time":          func(doc any) { first(doc)["start"] = "0001-01-01T00:00:00Z" },
		"a time of no zone":    func(doc any) { first(doc)["start"] = "2026-11-22T11:20:00" },
		"no controls":          func(doc any) { delete(first(doc), "reviewed-controls") },
		"no observations":      func(doc any) { first(doc)["observations"] = []any{} },
		"no methods":           func(doc any) { observed(doc)["methods"] = []any{} },
		"not collected":        func(doc any) { delete(observed(doc), "collected") },
		"an unknown field":     func(doc any) { observed(doc)["verdict"] = "pass" },
		"a prop of two lines":  func(doc any) { object(observed(doc), "props", 0)["value"] = "a\nb" },
		"an empty prop":        func(doc any) { object(observed(doc), "props", 0)["value"] = "" },
		"a prop without a URI": func(doc any) { object(observed(doc), "props", 0)["ns"] = "svmctl" },
		"another model":        func(doc any) { doc.(map[string]any)["catalog"] = map[string]any{} },
	} {
		t.Run(name, func(t *testing.T) {
			doc := parse(t, write(t, document()))
			damage(doc)
			if valid(t, doc) == nil {
				t.Error("it is taken for valid")
			}
		})
	}
}

// escaped is a character that Markdown takes as it is.
var escaped = regexp.MustCompile(`\\[[:punct:]]`)

func TestHostileNames(t *testing.T) {
	for _, name := range []string{
		"", " ", " a", "a ", "a\nb", "a\r\nb", "\x00", "\x1b[31mred", "\xff\xfe", "a\u2028b", "\u202egnp.exe", "\ufeffa", `"},{"`, "<script>alert(1)</script>", "[a](javascript:alert(1))",
		"{{ insert: param, a }}", "&lt;b&gt;", "`rm -rf`", "**a** __b__", `\<b>`, strings.Repeat("ä", 1<<12),
	} {
		t.Run(fmt.Sprintf("%.20q", name), func(t *testing.T) {
			d := document()
			s := d.Scan
			s.Cluster.Label, s.Cluster.KubernetesVersion, s.Cluster.EtcdMembers[0].ID, s.Cluster.Unknown = name, name, name, []string{name}
			s.Tool.Version, s.Actor = name, evidence.Actor{OSUser: name, Host: name, EtcdUser: name, Kubernetes: &evidence.KubernetesUser{Username: name}, CI: &evidence.ContinuousBuild{RunURL: name}}
			s.Scope = evidence.Scope{Statement: name, Prefixes: []string{name}, Resources: []string{name}, NotCovered: []string{name}, Overrides: []string{name}, NotJudged: []evidence.NotJudged{{Resource: name, Why: name}}}
			s.Limitations, s.Completeness.Missing, s.Merkle.Root = []evidence.Limitation{{ID: name, Text: name}}, name, name
			list := []string{name}
			s.Claims = []evidence.Claim{{ID: name, Statement: name, Result: evidence.Result(name), Why: list, Basis: list, Limitations: list, Exceptions: list, Controls: list}}
			e := &d.Exceptions.Exceptions[0]
			e.ID, e.Reason, e.Approver, e.Ticket = name, name, name, name
			doc := parse(t, write(t, d))
			if err := valid(t, doc); err != nil {
				t.Fatal(err)
			}
			checkReferences(t, doc)
			walk(doc, func(key, value string) {
				if strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' }) {
					t.Errorf("%s is %q", key, value)
				}
				if markdown := key == "description" || key == "title" || key == "remarks"; markdown && strings.ContainsAny(escaped.ReplaceAllString(value, ""), "<[{`&*_\\") {
					t.Errorf("%s is %q, which is Markdown", key, value)
				}
			})
		})
	}
}

func TestControls(t *testing.T) {
	d := document()
	d.Scan.Claims = nil
	every := make(map[string]bool)
	for _, c := range evidence.Controls() {
		for _, id := range c.Claims {
			d.Scan.Claims = append(d.Scan.Claims, evidence.Claim{ID: id})
		}
		if c.OSCAL != "" {
			every[c.OSCAL] = true
		}
	}
	slices.SortFunc(d.Scan.Claims, func(a, b evidence.Claim) int { return strings.Compare(a.ID, b.ID) })
	d.Scan.Claims = slices.CompactFunc(d.Scan.Claims, func(a, b evidence.Claim) bool { return a.ID == b.ID })
	var got struct {
		AR struct {
			Results []struct {
				Reviewed struct {
					Selections []struct {
						Include []struct {
							ID string `json:"control-id"`
						} `json:"include-controls"`
					} `json:"control-selections"`
				} `json:"reviewed-controls"`
			}
		} `json:"assessment-results"`
	}
	if err := json.Unmarshal(write(t, d), &got); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, c := range got.AR.Results[0].Reviewed.Selections[0].Include {
		ids = append(ids, c.ID)
	}
	if want := slices.Sorted(maps.Keys(every)); len(want) == 0 || !slices.Equal(ids, want) {
		t.Errorf("controls %q, want %q", ids, want)
	}
}

func TestRefuses(t *testing.T) {
	for name, change := range map[string]func(*evidence.Scan){
		"no ID":          func(s *evidence.Scan) { s.ID = "" },
		"another ID":     func(s *evidence.Scan) { s.ID = "scan-1" },
		"not started":    func(s *evidence.Scan) { s.Time.StartedAt = time.Time{} },
		"never finished": func(s *evidence.Scan) { s.Time.FinishedAt = time.Time{} },
	} {
		t.Run(name, func(t *testing.T) {
			d := document()
			change(d.Scan)
			var out bytes.Buffer
			if err := oscal.Write(&out, d); err == nil || out.Len() > 0 {
				t.Errorf("error %v, and %d bytes were written", err, out.Len())
			}
		})
	}
}

var errFull = errors.New("no space left")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriteError(t *testing.T) {
	if err := oscal.Write(full{}, document()); !errors.Is(err, errFull) {
		t.Errorf("error %v", err)
	}
}
