package keys

import (
	"time"

	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
)

// Report tells of each key where it is needed, in the form that docs/json.md promises.
type Report struct {
	APIVersion string                `json:"apiVersion"`
	Kind       string                `json:"kind"`
	Tool       audit.Tool            `json:"tool"`
	CanRemove  *CanRemove            `json:"canRemove"` // null: no key in particular was asked about
	Source     audit.Source          `json:"source"`
	Scope      audit.Scope           `json:"scope"`
	Further    []Further             `json:"further"` // etcds in which single resources live
	StartedAt  time.Time             `json:"startedAt"`
	FinishedAt time.Time             `json:"finishedAt"`
	Encryption *audit.Encryption     `json:"encryptionConfig"` // null: there was none at hand
	APIServers *apiservers.Agreement `json:"apiservers"`       // null: they were not asked
	// Doubts are what keeps every key from being called removable, in the order of their weight.
	Doubts   []string `json:"doubts"`
	Warnings []string `json:"warnings"`
	Keys     []Row    `json:"keys"`
	// Snapshots are the files that are kept beside etcd, in the order they were named.
	Snapshots []Kept `json:"snapshots"`

	Silent []audit.Silent `json:"-"` // KMS providers that were asked in vain
}

// Further is an etcd beside the main one.
type Further struct {
	Resources []string     `json:"resources"`
	Source    audit.Source `json:"source"`
	Scope     audit.Scope  `json:"scope"`
}

// CanRemove is the answer about one key.
type CanRemove struct {
	Key    string   `json:"key"` // PROVIDER:KEY[:KEYID]
	Answer Answer   `json:"answer"`
	Reason string   `json:"reason"`
	After  []string `json:"after"` // what remains to be done before the key itself may be destroyed
}

// Answer is yes, no or unknown.
type Answer string

const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unknown Answer = "unknown"
)

// Row is one key of the EncryptionConfiguration, or one that was found in etcd. Under KMS v2 each key ID has a row of its own.
type Row struct {
	Provider  atrest.Provider `json:"provider"`
	Version   string          `json:"version"`
	Key       string          `json:"key"`
	KeyID     string          `json:"keyID"`     // KMS v2 only
	KeyIDHash string          `json:"keyIDHash"` // as the apiservers' metrics have it
	Twin      int             `json:"twin"`      // tells keys of one name apart that have other material, from 0 in the order of the file

	Configured bool     `json:"configured"` // the EncryptionConfiguration has it
	Write      bool     `json:"write"`      // it encrypts something now
	Writes     []string `json:"writes"`     // resources that it encrypts, as the file names them
	Reads      []string `json:"reads"`      // resources that it is there to read

	Objects map[string]int64 `json:"objects"` // by resource, or for keys that are no API object by what they are
	Total   int64            `json:"total"`
	Opened  int64            `json:"opened"` // of these, opened with this very key

	// History counts the older revisions under it that etcd still gives. Of twins, which only opening tells apart, the first has them all.
	History   int64 `json:"history"`
	Snapshots int   `json:"snapshots"` // of the files that were read need it

	Removable   Answer `json:"removable"` // from the EncryptionConfiguration; of a KMS key ID: whether the plugin may lose it
	Destroyable Answer `json:"destroyable"`
	Reason      string `json:"reason"`

	doubtful int64 // objects that may need it and were not opened
	unmet    bool  // a key ID that somebody asked about and of which nothing tells
}
