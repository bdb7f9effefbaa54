package e2e

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// The structs below list what contracts promise of -o json, apart from the project's own types. A field that is
// promised and may be null is a pointer or raw.

type auditReport struct {
	APIVersion       string            `json:"apiVersion"`
	Kind             string            `json:"kind"`
	Verdict          *string           `json:"verdict"`
	Reasons          []reason          `json:"reasons"`
	Source           auditSource       `json:"source"`
	Scope            auditScope        `json:"scope"`
	Totals           totals            `json:"totals"`
	Expectations     []expectation     `json:"expectations"`
	EncryptionConfig *encryptionConfig `json:"encryptionConfig"`
	Candidate        *encryptionConfig `json:"candidate"`
	Groups           []group           `json:"groups"`
	Findings         []finding         `json:"findings"`
}

type reason struct {
	Code     string `json:"code"`
	Severity string `json:"severity"`
	Resource string `json:"resource"`
	Expected string `json:"expected"`
	Found    string `json:"found"`
	Objects  int64  `json:"objects"`
	Message  string `json:"message"`
}

type encryptionConfig struct {
	Path string `json:"path"`
	Hash string `json:"hash"`
	Open string `json:"open"`
}

type auditSource struct {
	Path      string   `json:"path"`
	Integrity string   `json:"integrity"`
	Type      string   `json:"type"`
	Endpoints []string `json:"endpoints"`
	ClusterID string   `json:"clusterID"`
	Revision  int64    `json:"revision"`
}

type auditScope struct {
	Prefixes []string `json:"prefixes"`
	History  bool     `json:"history"`
}

type totals struct {
	Keys  int64 `json:"keys"`
	Bytes int64 `json:"bytes"`
}

type expectation struct {
	Resource string `json:"resource"`
	Value    string `json:"value"`
	Version  string `json:"version"`
	From     string `json:"from"`
}

type group struct {
	Root          string      `json:"root"`
	Group         string      `json:"group"`
	Resource      string      `json:"resource"`
	AtRest        atRest      `json:"atRest"`
	Stored        *storedType `json:"stored"`
	Opened        string      `json:"opened"`
	Authenticated bool        `json:"authenticated"`
	Note          string      `json:"note"`
	Objects       int64       `json:"objects"`
	Bytes         int64       `json:"bytes"`
}

type atRest struct {
	Provider    string `json:"provider"`
	Version     string `json:"version"`
	Key         string `json:"key"`
	KeyID       string `json:"keyID"`
	KeyInferred bool   `json:"keyInferred"`
}

type storedType struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Encoding   string `json:"encoding"`
}

type finding struct {
	Code        string `json:"code"`
	Severity    string `json:"severity"`
	Key         string `json:"key"`
	Group       string `json:"group"`
	Resource    string `json:"resource"`
	Namespace   string `json:"namespace"`
	Name        string `json:"name"`
	ModRevision int64  `json:"modRevision"`
	Message     string `json:"message"`
	Expected    string `json:"expected"`
	Found       string `json:"found"`
}

type migrationReport struct {
	APIVersion string        `json:"apiVersion"`
	Kind       string        `json:"kind"`
	Verdict    *string       `json:"verdict"`
	Targets    []expectation `json:"targets"`
	Backend    string        `json:"backend"`
	Before     auditReport   `json:"before"`
	After      *auditReport  `json:"after"`
	Outcomes   outcomes      `json:"outcomes"`
	Failures   []failure     `json:"failures"`
	Rounds     int           `json:"rounds"`
	Elsewhere  []elsewhere   `json:"elsewhere"`
	APIServers apiservers    `json:"apiservers"`
	Reasons    []reason      `json:"reasons"`
	Settled    *settled      `json:"settled"`
	Warnings   []string      `json:"warnings"`
}

type settled struct {
	Writes int64 `json:"writes"`
	Late   int64 `json:"late"`
}

type outcomes struct {
	Rewritten       int `json:"rewritten"`
	AlreadyCurrent  int `json:"alreadyCurrent"`
	NotRewritten    int `json:"notRewritten"`
	ChangedByOthers int `json:"changedByOthers"`
	Deleted         int `json:"deleted"`
	Failed          int `json:"failed"`
}

type failure struct {
	Key       string `json:"key"`
	Resource  string `json:"resource"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Code      int    `json:"code"`
	Reason    string `json:"reason"`
	By        string `json:"by"`
	Message   string `json:"message"` // with --show-messages
}

type elsewhere struct {
	Resource string `json:"resource"`
	Value    string `json:"value"`
	Objects  *int64 `json:"objects"`
	Note     string `json:"note"`
}

type apiservers struct {
	Known int   `json:"known"`
	Asked int   `json:"asked"`
	Agree *bool `json:"agree"`
}

type keyReport struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	CanRemove  *canRemove `json:"canRemove"`
	Further    []further  `json:"further"`
	Doubts     []string   `json:"doubts"`
	Warnings   []string   `json:"warnings"`
	Keys       []keyRow   `json:"keys"`
}

type canRemove struct {
	Key    string   `json:"key"`
	Answer string   `json:"answer"`
	Reason string   `json:"reason"`
	After  []string `json:"after"`
}

type further struct {
	Resources []string `json:"resources"`
}

type keyRow struct {
	Provider    string           `json:"provider"`
	Key         string           `json:"key"`
	KeyID       string           `json:"keyID"`
	KeyIDHash   string           `json:"keyIDHash"`
	Write       bool             `json:"write"`
	Removable   string           `json:"removable"`
	Destroyable string           `json:"destroyable"`
	Reason      string           `json:"reason"`
	Objects     map[string]int64 `json:"objects"`
}

// audit reads the report and checks that every promised field is there.
func (r result) audit(t *testing.T) auditReport {
	t.Helper()
	var report auditReport
	r.decode(t, &report, "apiVersion", "kind", "tool", "verdict", "source", "scope", "startedAt", "finishedAt", "totals",
		"expectations", "groups", "findings")
	return report
}

// migration reads the report and checks that every promised field is there.
func (r result) migration(t *testing.T) migrationReport {
	t.Helper()
	var report migrationReport
	r.decode(t, &report, "apiVersion", "kind", "tool", "verdict", "targets", "backend", "before", "after", "outcomes",
		"failures", "rounds", "elsewhere", "apiservers")
	return report
}

// keys reads the report and checks that every promised field is there, in each row as well.
func (r result) keys(t *testing.T) keyReport {
	t.Helper()
	var rows struct {
		Keys []map[string]json.RawMessage `json:"keys"`
	}
	r.decode(t, &rows, "apiVersion", "kind", "tool", "canRemove", "source", "further", "startedAt", "finishedAt", "apiservers", "doubts", "warnings", "keys")
	for _, row := range rows.Keys {
		for _, name := range []string{"provider", "key", "keyID", "write", "removable", "destroyable", "reason", "objects"} {
			if _, ok := row[name]; !ok {
				t.Errorf("a key has no field %s\n%s", name, r)
			}
		}
	}
	var report keyReport
	r.decode(t, &report)
	return report
}

func (r result) decode(t *testing.T, into any, promised ...string) {
	t.Helper()
	var fields map[string]json.RawMessage
	decoder := json.NewDecoder(bytes.NewReader([]byte(r.stdout)))
	if err := decoder.Decode(&fields); err != nil {
		t.Fatalf("stdout is not JSON: %v\n%s", err, r)
	}
	if decoder.More() {
		t.Errorf("stdout goes on after the report\n%s", r)
	}
	for _, name := range promised {
		if _, ok := fields[name]; !ok {
			t.Errorf("the report has no field %s\n%s", name, r)
		}
	}
	if err := json.Unmarshal([]byte(r.stdout), into); err != nil {
		t.Fatalf("report: %v\n%s", err, r)
	}
}

// verdict is the word, or "none".
func verdict(v *string) string {
	if v == nil {
		return "none"
	}
	return *v
}

// reason is the first of a code; the zero value when there is none.
func (r auditReport) reason(code string) reason {
	for _, reason := range r.Reasons {
		if reason.Code == code {
			return reason
		}
	}
	return reason{}
}

// spec is the key as --can-remove takes it.
func (k keyRow) spec() string {
	parts := []string{k.Provider}
	for _, part := range []string{k.Key, k.KeyID} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ":")
}

// row is that of a key, given as PROVIDER:KEY[:KEYID].
func (r keyReport) row(t *testing.T, spec string) keyRow {
	t.Helper()
	var have []string
	for _, row := range r.Keys {
		if row.spec() == spec {
			return row
		}
		have = append(have, row.spec())
	}
	t.Fatalf("there is no row for %s, but for %v", spec, have)
	return keyRow{}
}

// byKey adds up the objects of a resource per provider and key, as "aescbc:key1" or "identity".
func (r auditReport) byKey(resource string) map[string]int64 {
	sums := make(map[string]int64)
	for _, g := range r.Groups {
		if g.Resource == resource {
			name := g.AtRest.Provider
			if g.AtRest.Key != "" {
				name += ":" + g.AtRest.Key
			}
			sums[name] += g.Objects
		}
	}
	return sums
}
