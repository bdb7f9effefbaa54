package evidence

import (
	"strconv"
	"time"
)

const (
	statementType = "https://in-toto.io/Statement/v1"
	// PredicateType names what a statement of svmctl says.
	PredicateType = "https://github.com/svmctl/svmctl/attestation/storage-encryption/v1"
	verifierID    = "https://github.com/svmctl/svmctl"
	payloadType   = "application/vnd.in-toto+json"
)

// Attest is how a statement is signed without svmctl. The key is one of cosign's, or of a KMS that it knows; without the two flags about
// a log the signature is published in Sigstore's.
const Attest = "cosign attest-blob --statement statement.json --bundle statement.sigstore.json --key cosign.key --use-signing-config=false --tlog-upload=false --yes"

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

// statement is what is said of the files whose digests are given.
func (s *Scan) statement(digests map[string]string) Statement {
	st := Statement{Type: statementType, Subject: []Subject{}, PredicateType: PredicateType, Predicate: Predicate{
		Claims: s.Claims,
		Cluster: StatedCluster{Label: s.Cluster.Label, KubeSystemNamespaceUID: s.Cluster.KubeSystemNamespaceUID, EtcdClusterID: s.Cluster.EtcdClusterID,
			EtcdMemberIDs: []string{}, SnapshotSHA256: s.AsOf.SnapshotHash},
		AsOf: StatedAsOf{EtcdRevision: strconv.FormatInt(s.AsOf.Revision, 10), ScanStartedAt: s.Time.StartedAt, ScanFinishedAt: s.Time.FinishedAt},
		Population: StatedRecords{RecordsMerkleRoot: s.Merkle.Root, TreeSize: strconv.FormatInt(s.Merkle.TreeSize, 10),
			Redaction: s.Redaction.Mode, RedactionKeyID: s.Redaction.KeyID},
		Verifier: Verifier{ID: verifierID, Version: s.Tool.Version, BinarySHA256: s.Tool.BinarySHA256},
	}}
	for _, name := range sortedKeys(digests) {
		st.Subject = append(st.Subject, Subject{Name: name, Digest: Digest{digests[name]}})
	}
	for _, m := range s.Cluster.EtcdMembers {
		st.Predicate.Cluster.EtcdMemberIDs = append(st.Predicate.Cluster.EtcdMemberIDs, m.ID)
	}
	if s.Previous != nil {
		st.Predicate.PreviousStatement = &StatedPrevious{Digest{s.Previous.SHA256}}
	}
	return st
}
