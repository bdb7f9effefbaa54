package evidence

import (
	"io"
	"time"

	"github.com/svmctl/svmctl/internal/verify"
)

// Document is all that a bundle says, for those who write it in another form. Nobody changes it.
type Document struct {
	Scan       *Scan
	APIServers *APIServers
	Migration  *Migration  // nil: nothing was migrated
	Exceptions *Exceptions // nil: none were given
	Keys       any         // the KeyReport; nil: keys were not asked about
	Residue    any         // the ResidueReport; nil: no file of etcd's was looked through
	Files      []string    // that the bundle has once it is whole, sorted
	Signer     *Signer     // nil: it is not signed
}

// Signer is the key that a bundle is signed with.
type Signer struct {
	Algorithm   string // ECDSA P-256 or Ed25519
	Fingerprint string // SHA256:… of the public key's DER, in hex
}

// Rendering is a file that is made of nothing but the document, and is the same whenever the document is.
type Rendering struct {
	Name  string
	Write func(io.Writer, *Document) error
}

// Exceptions is exceptions.json, and the form of the file that deviations are approved in.
type Exceptions struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"` // EvidenceExceptions
	Exceptions []Exception `json:"exceptions"`

	at time.Time // of the scan
}

// Exception is an approved deviation.
type Exception struct {
	ID       string    `json:"id"`
	Selector Selector  `json:"selector"`
	Reason   string    `json:"reason"`
	Approver string    `json:"approver"`
	Ticket   string    `json:"ticket"`
	Approved time.Time `json:"approved,omitzero"`
	Expires  time.Time `json:"expires"`
	Expired  bool      `json:"expired"` // when the store was read
	Objects  int64     `json:"objects"` // records that would be at fault without it
}

// Selector tells which objects a deviation is approved for. Namespace and name may be patterns with * and ?.
type Selector struct {
	Resource  string        `json:"resource"` // such as secrets or deployments.apps
	Namespace string        `json:"namespace"`
	Name      string        `json:"name"`
	Codes     []verify.Code `json:"codes"` // which findings; empty: Plaintext, StaleKey and StaleVersion
}
