// Package evidence makes of one look at a store a bundle of files that an auditor accepts, and checks such a bundle. It owns the
// schema of every file, their encoding, and how they are written: whole or not at all. It never talks to anybody, it never opens a
// value, and nothing that it writes holds a byte or a digest of one.
package evidence

import (
	"time"

	"github.com/svmctl/svmctl/internal/audit"
)

// APIVersion of every JSON file of a bundle.
const APIVersion = audit.APIVersion

// SchemaVersion is that of the files as they are written now. It grows whenever a bundle of before would no longer have their form.
const SchemaVersion = 1

// Files of a bundle.
const (
	ScanFile       = "scan.json"
	RecordsFile    = "records.jsonl.gz"
	CSVFile        = "records.csv"
	APIServersFile = "apiservers.json"
	ExceptionsFile = "exceptions.json"
	MigrationFile  = "migration.json"
	KeysFile       = "keys.json"
	ResidueFile    = "residue.json"
	OSCALFile      = "oscal-assessment-results.json"
	JUnitFile      = "results.junit.xml"
	PrometheusFile = "svmctl.prom"
	HTMLFile       = "report.html"
	MarkdownFile   = "report.md"
	VerifyFile     = "VERIFY.md"
	StatementFile  = "statement.json"
	SignatureFile  = "statement.sigstore.json"
	PublicKeyFile  = "signing-key.pub"
	SumsFile       = "SHA256SUMS"
)

// Scan is scan.json: all that the bundle says, but for single objects.
type Scan struct {
	APIVersion   string         `json:"apiVersion"`
	Kind         string         `json:"kind"`          // EvidenceScan
	Schema       int            `json:"schemaVersion"` // of all files of the bundle
	ID           string         `json:"id"`            // UUID v5 of what was read and when
	Tool         Tool           `json:"tool"`
	Actor        Actor          `json:"actor"`
	Time         Time           `json:"time"`
	Cluster      Cluster        `json:"cluster"`
	Claims       []Claim        `json:"claims"`
	Config       *Outline       `json:"encryptionConfig"` // null: there was none at hand
	Scope        Scope          `json:"scope"`
	AsOf         AsOf           `json:"asOf"`
	Completeness Completeness   `json:"completeness"`
	Population   []Population   `json:"population"`
	Merkle       Merkle         `json:"merkle"`
	Redaction    Redaction      `json:"redaction"`
	Exceptions   []ExceptionUse `json:"exceptions"`
	Limitations  []Limitation   `json:"limitations"`
	Previous     *Previous      `json:"previousStatement"` // null: the first of its chain
	// Audit is the AuditReport without its findings, which the records stand for, and with KMS key IDs hashed.
	Audit *audit.Report `json:"audit"`
}

// Tool is what made the bundle.
type Tool struct {
	Name         string   `json:"name"`
	Version      string   `json:"version"`
	GitCommit    string   `json:"gitCommit"` // empty: not known
	GoVersion    string   `json:"goVersion"`
	BinarySHA256 string   `json:"binarySHA256"` // empty: not known
	Arguments    []string `json:"arguments"`    // without the directory of the bundle
}

// Actor is who ran it.
type Actor struct {
	OSUser         string           `json:"osUser"`
	Host           string           `json:"host"`
	Kubernetes     *KubernetesUser  `json:"kubernetes"` // null: the API was not asked, or did not tell
	EtcdUser       string           `json:"etcdUser"`
	EtcdClientCert *ClientCert      `json:"etcdClientCert"` // null: none was used
	CI             *ContinuousBuild `json:"ci"`             // null: no pipeline
}

// KubernetesUser is who the API says it was asked by (SelfSubjectReview).
type KubernetesUser struct {
	Username string   `json:"username"`
	UID      string   `json:"uid"`
	Groups   []string `json:"groups"`
}

// ClientCert is a certificate by which etcd was asked.
type ClientCert struct {
	Subject  string    `json:"subject"`
	Issuer   string    `json:"issuer"`
	Serial   string    `json:"serial"` // hex
	SHA256   string    `json:"sha256"` // of its DER
	NotAfter time.Time `json:"notAfter"`
}

// ContinuousBuild is the pipeline that it ran in, by the variables that the pipeline sets.
type ContinuousBuild struct {
	Provider string `json:"provider"`
	RunURL   string `json:"runURL"`
}

// Time is when, and by whose clock.
type Time struct {
	StartedAt     time.Time       `json:"startedAt"`
	FinishedAt    time.Time       `json:"finishedAt"`
	Clock         string          `json:"clock"` // local, or SOURCE_DATE_EPOCH where that stood in for it
	Corroboration []Corroboration `json:"corroboration"`
}

// Corroboration is another clock.
type Corroboration struct {
	Source string    `json:"source"`
	At     time.Time `json:"at"`
	SkewMS int64     `json:"skewMS"` // by how many milliseconds the local clock was ahead of it; a Date header has whole seconds
}

// Cluster is what was looked at. No part of it alone tells two clusters apart.
type Cluster struct {
	Label                  string   `json:"label"` // the operator's own name for it
	KubeSystemNamespaceUID string   `json:"kubeSystemNamespaceUID"`
	KubernetesVersion      string   `json:"kubernetesVersion"`
	EtcdClusterID          string   `json:"etcdClusterID"` // hex; empty for a file and for kine
	EtcdMembers            []Member `json:"etcdMembers"`
	Unknown                []string `json:"unknown"` // what of this could not be read, and why
}

// Member is a member of the etcd cluster.
type Member struct {
	ID             string   `json:"id"` // hex
	Name           string   `json:"name"`
	ClientURLs     []string `json:"clientURLs"`
	Learner        bool     `json:"learner"`
	Answered       bool     `json:"answered"` // and it tells the rest
	Version        string   `json:"version"`
	StorageVersion string   `json:"storageVersion"`
	Leader         bool     `json:"leader"`
	DBSize         string   `json:"dbSize"` // bytes
	DBSizeInUse    string   `json:"dbSizeInUse"`
	RaftApplied    string   `json:"raftAppliedIndex"`
}

// Outline is what an EncryptionConfiguration says, without its keys.
type Outline struct {
	Hash  string        `json:"hash"` // sha256:… of the file, as the apiservers' metrics have it
	Rules []OutlineRule `json:"rules"`
}

// OutlineRule is an entry of it.
type OutlineRule struct {
	Resources []string `json:"resources"`
	Providers []string `json:"providers"` // as PROVIDER:KEY, in the order in which they are tried: the first one writes
}

// Scope is what was looked at, and as large what was not.
type Scope struct {
	Statement  string      `json:"statement"`
	Prefixes   []string    `json:"prefixes"`
	Resources  []string    `json:"resources"` // that are expected to be encrypted; empty: all of the API in the prefixes
	NotJudged  []NotJudged `json:"notJudged"` // what lies in the prefixes and is not expected to be encrypted
	NotCovered []string    `json:"notCovered"`
	Overrides  []string    `json:"etcdServersOverrides"` // resources that the apiservers keep in another etcd
}

// NotJudged is one resource that was read, and of which nothing was expected, or that it is not encrypted.
type NotJudged struct {
	Resource  string `json:"resource"`
	Objects   int64  `json:"objects"`
	Plaintext int64  `json:"plaintext"`
	Why       string `json:"why"`
}

// AsOf is the moment that the bundle speaks of.
type AsOf struct {
	Revision     int64  `json:"revision"`
	Snapshot     string `json:"snapshot"`       // path of the file; empty: a running etcd
	SnapshotHash string `json:"snapshotSHA256"` // of the file
	// Later is what was written after the revision until the end of the run; null: nobody could look.
	Later        *Later `json:"later"`
	LaterUnknown string `json:"laterUnknown"` // why
	// ValidUntil is when the operator wants another bundle to have taken its place; absent: nothing was said.
	ValidUntil time.Time `json:"validUntil,omitzero"`
}

// Later are the writes of judged resources after the revision.
type Later struct {
	HeadRevision int64 `json:"headRevision"`
	Writes       int64 `json:"writes"`
	Plaintext    int64 `json:"plaintext"` // of these, unencrypted where encryption is expected
	OtherKey     int64 `json:"otherKey"`  // of these, under another key than the expected one
	Unknown      int64 `json:"unknown"`   // of these, not understood
}

// Completeness is how it is known that nothing is missing.
type Completeness struct {
	Read    int64           `json:"read"`    // keys
	Counted int64           `json:"counted"` // keys, by etcd's own count at the same revision
	Whole   bool            `json:"whole"`
	Missing string          `json:"missing"` // why it is not whole
	Outside *int64          `json:"outside"` // keys of the store beyond the prefixes; null: not counted
	API     *Reconciliation `json:"api"`     // null: the API was not asked to list
	APIWhy  string          `json:"apiWhy"`  // why it was not
}

// Reconciliation compares the keys of etcd with what the API lists at exactly that revision.
type Reconciliation struct {
	Method    string       `json:"method"`
	Revision  int64        `json:"revision"`
	Match     bool         `json:"match"` // every resource was listed, and each object is on both sides at the same revision
	Resources []Reconciled `json:"resources"`
}

// Reconciled is one resource of it.
type Reconciled struct {
	Resource   string `json:"resource"`
	InEtcd     int64  `json:"inEtcd"`
	InAPI      int64  `json:"inAPI"`
	OnlyInEtcd int64  `json:"onlyInEtcd"`
	OnlyInAPI  int64  `json:"onlyInAPI"`
	OtherRev   int64  `json:"otherRevision"` // on both sides, and not at the same revision
	Problem    string `json:"problem"`       // why it could not be listed; empty: it was
}

// State is what one record comes to.
type State string

const (
	StateOK        State = "ok"        // as expected
	StatePlaintext State = "plaintext" // expected to be encrypted, and is not
	StateStale     State = "stale"     // encrypted with another key, at another version, or where nothing should be
	StateUnknown   State = "unknown"   // not understood
	StateError     State = "error"     // cannot be opened, or is not what its key says
	StateNotJudged State = "notJudged" // nothing was expected of it
)

// Population are the objects of one resource that have the rest in common.
type Population struct {
	Resource  string `json:"resource"`
	Provider  string `json:"provider"`
	Version   string `json:"version"` // of the provider
	Key       string `json:"key"`
	KeyIDHash string `json:"keyIDHash"` // KMS v2: sha256:… of the keyID, as the apiservers' metrics have it
	State     State  `json:"state"`
	Exception string `json:"exception"` // the approved deviation that covers them; empty: none
	Objects   int64  `json:"objects"`
	Opened    int64  `json:"opened"`   // of these, opened and found to be the object that their key names
	Expected  bool   `json:"expected"` // encryption is expected of the resource: these are what the claims are about
}

// Merkle is the tree over the records.
type Merkle struct {
	Algorithm  string `json:"algorithm"`
	LeafFormat string `json:"leafFormat"`
	TreeSize   int64  `json:"treeSize"`
	Root       string `json:"root"` // hex
}

// Mode is how much of names a bundle shows.
type Mode string

const (
	Names  Mode = "names"  // in clear
	HMAC   Mode = "hmac"   // a keyed hash for each key of etcd
	Counts Mode = "counts" // no records at all; the tree is that of HMAC
)

// Redaction tells how names were hidden.
type Redaction struct {
	Mode      Mode   `json:"mode"`
	Algorithm string `json:"algorithm"`
	KeyID     string `json:"redactionKeyID"` // tells redaction keys apart, and nothing of them; empty: one that was made for this bundle
}

// Limitation is something that the bundle cannot show.
type Limitation struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// Previous names the statement before.
type Previous struct {
	SHA256    string    `json:"sha256"` // of its statement.json
	Revision  int64     `json:"revision"`
	ScannedAt time.Time `json:"scannedAt"`
}

// ExceptionUse is an approved deviation, and what it covers.
type ExceptionUse struct {
	ID      string    `json:"id"`
	Expires time.Time `json:"expires"`
	Expired bool      `json:"expired"`
	Objects int64     `json:"objects"` // records that would be at fault without it
}

// Result of a claim.
type Result string

const (
	Pass         Result = "pass"
	Fail         Result = "fail"
	Inconclusive Result = "inconclusive"
)

// Claim is one sentence about the cluster, and what came of it. It is an observation: what it means for a control is the assessor's
// to say.
type Claim struct {
	ID          string   `json:"id"` // SVM-E1 …
	Statement   string   `json:"statement"`
	Result      Result   `json:"result"`
	Why         []string `json:"why"`   // what made the result, worst first
	Basis       []string `json:"basis"` // what was looked at
	Limitations []string `json:"limitations"`
	Exceptions  []string `json:"exceptions"`
	Controls    []string `json:"controls"`
}

// APIServers is apiservers.json: each apiserver, what it has loaded, and what it has written.
type APIServers struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"` // EvidenceAPIServers
	Asked      bool   `json:"asked"`
	Why        string `json:"why"` // why they were not asked
	Expected   string `json:"expectedConfigHash"`
	Known      int    `json:"known"`   // how many there must be
	Counted    bool   `json:"counted"` // by their leases; else it is only how many are known
	Answered   int    `json:"answered"`
	// Agree is true if each was asked and all have loaded the same EncryptionConfiguration, and that at hand if there is one; false if
	// not; null where it is not known.
	Agree         *bool    `json:"agree"`
	Disagreements []string `json:"disagreements"`
	Missing       []string `json:"missing"`
	Gone          []string `json:"gone"` // leases that are left of apiservers no longer there
	Unchecked     []string `json:"unchecked"`
	// OverridesKnown: every apiserver told whether it keeps resources in another etcd.
	OverridesKnown bool        `json:"overridesKnown"`
	Servers        []APIServer `json:"servers"`
	// Earlier are the same before a migration began, with what they had written by then; absent where nobody asked.
	Earlier   []APIServer `json:"earlier,omitempty"`
	EarlierAt time.Time   `json:"earlierAt,omitzero"`
}

// APIServer is one of them.
type APIServer struct {
	Address          string            `json:"address"`
	Identity         string            `json:"identity"`
	Hostname         string            `json:"hostname"`
	IDHash           string            `json:"idHash"` // sha256:… of the identity, as its metrics have it
	Version          string            `json:"version"`
	Answered         bool              `json:"answered"`
	Problem          string            `json:"problem"`
	MetricsRead      bool              `json:"metricsRead"`
	MetricsProblem   string            `json:"metricsProblem"`
	EncryptionConfig string            `json:"encryptionConfigHash"`
	StartedAt        time.Time         `json:"startedAt,omitzero"`
	LoadedAt         time.Time         `json:"loadedAt,omitzero"` // since when it writes as it does; absent: not known
	KMSKeyIDs        map[string]string `json:"kmsKeyIDHashes"`
	EtcdPrefix       string            `json:"etcdPrefix"`
	Overrides        []string          `json:"etcdServersOverrides"` // as RESOURCE=URL
	Flags            map[string]string `json:"flags"`                // of these alone: see apiservers.EvidenceFlags; empty: not told
	FlagsProblem     string            `json:"flagsProblem"`
	// Writes are the values that it encrypted since it was started, by the prefix that it gave them, and those that it read.
	Writes []Operations `json:"writes"`
	Reads  []Operations `json:"reads"`
}

// Operations are a counter of an apiserver.
type Operations struct {
	Resource string `json:"resource"` // empty before Kubernetes 1.33
	Prefix   string `json:"prefix"`   // of the provider, or of a key nested in it; empty: unencrypted
	Status   string `json:"status"`
	Count    int64  `json:"count"`
}

// Migration is migration.json.
type Migration struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"` // EvidenceMigration
	// Report is the MigrationReport; failures and objects that lose fields are counted, and named where names are shown.
	Report any           `json:"report"`
	Before *audit.Report `json:"before"` // AuditReports without findings
	After  *audit.Report `json:"after"`  // null: the run was interrupted
	// Failures by what stopped them.
	Failures []FailureCount `json:"failures"`
	// Objects that were not rewritten, each with its cause; null where names are not shown.
	NotRewritten []Unwritten `json:"notRewritten"`
}

// Unwritten is one object that was not rewritten, as failures[] of a MigrationReport has it, without the apiserver's free text.
type Unwritten struct {
	Key       string   `json:"key"`
	Resource  string   `json:"resource"`
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Code      int      `json:"code"` // HTTP status, 0 when there was no answer
	Kind      string   `json:"kind"`
	Reason    string   `json:"reason"`
	By        string   `json:"by"` // webhook or policy
	Fields    []string `json:"fields"`
	Text      string   `json:"text"` // the cause in svmctl's words
}

// FailureCount is how often something stood in the way of a rewrite.
type FailureCount struct {
	Resource string `json:"resource"`
	Code     string `json:"code"`
	Objects  int64  `json:"objects"`
}
