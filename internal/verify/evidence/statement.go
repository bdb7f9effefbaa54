package evidence

import "time"

const (
	statementType = "https://in-toto.io/Statement/v1"
	// PredicateType names what a statement of svmctl says.
	PredicateType = "https://github.com/svmctl/svmctl/attestation/storage-encryption/v1"
	payloadType   = "application/vnd.in-toto+json"
)

// Statement is statement.json, an in-toto Statement v1 whose subjects are the other files of the bundle.
type Statement struct {
	Type          string    `json:"_type"`
	Subject       []Subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     Predicate `json:"predicate"`
}

// Subject is a file, known by its digest.
type Subject struct {
	Name   string `json:"name"`
	Digest Digest `json:"digest"`
}

// Digest of a file, in hex.
type Digest struct {
	SHA256 string `json:"sha256"`
}

// Predicate is what is said. Numbers that may not fit a double are text.
type Predicate struct {
	Claims            []Claim         `json:"claims"`
	Cluster           StatedCluster   `json:"cluster"`
	AsOf              StatedAsOf      `json:"asOf"`
	Population        StatedRecords   `json:"population"`
	Verifier          Verifier        `json:"verifier"`
	PreviousStatement *StatedPrevious `json:"previousStatement,omitempty"`
}

// StatedCluster is the cluster by its identities.
type StatedCluster struct {
	Label                  string   `json:"label"`
	KubeSystemNamespaceUID string   `json:"kubeSystemNamespaceUID"`
	EtcdClusterID          string   `json:"etcdClusterID"`
	EtcdMemberIDs          []string `json:"etcdMemberIDs"`
	SnapshotSHA256         string   `json:"snapshotSHA256"`
}

// StatedAsOf is the moment.
type StatedAsOf struct {
	EtcdRevision   string    `json:"etcdRevision"`
	ScanStartedAt  time.Time `json:"scanStartedAt"`
	ScanFinishedAt time.Time `json:"scanFinishedAt"`
}

// StatedRecords bind the records, whether or not they are in the bundle.
type StatedRecords struct {
	RecordsMerkleRoot string `json:"recordsMerkleRoot"`
	TreeSize          string `json:"treeSize"`
	Redaction         Mode   `json:"redaction"`
	RedactionKeyID    string `json:"redactionKeyID"`
}

// Verifier is svmctl.
type Verifier struct {
	ID           string `json:"id"`
	Version      string `json:"version"`
	BinarySHA256 string `json:"binarySHA256"`
}

// StatedPrevious names the statement before by its digest.
type StatedPrevious struct {
	Digest Digest `json:"digest"`
}
