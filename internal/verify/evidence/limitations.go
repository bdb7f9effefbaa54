package evidence

import "slices"

import "github.com/svmctl/svmctl/internal/etcdscan/atrest"

// limitationTexts are what a bundle cannot show, whatever is in it. L3 and L4 go on with what providerLimits say of each provider.
var limitationTexts = []Limitation{
	{ID: "L1", Text: "It speaks of one revision of etcd. What was written later is not in it, but for the writes that asOf.later counts."},
	{ID: "L2", Text: "Not every value was opened. Of the others the prefix k8s:enc:… is believed, and whoever can write to etcd can write a prefix. " +
		"--encryption-provider-config with --open all opens them."},
	{ID: "L3", Text: "A key is known by what stored values say of it."},
	{ID: "L4", Text: "Which cipher is used can be seen, and not whether a validated module runs it: the certificate (FIPS 140) has to be shown elsewhere."},
	{ID: "L5", Text: "Not looked at: other etcds (--etcd-servers-overrides, aggregated API servers), nodes, and copies of secrets elsewhere"},
	{ID: "L6", Text: "How keys are made, kept, given out and destroyed cannot be seen here: the logs of the KMS or HSM tell. Keys of aescbc, aesgcm and " +
		"secretbox lie in a file on every control-plane node."},
	{ID: "L7", Text: "It was made by those who are audited, with their rights and their clock. Watch it being made, or make it again as VERIFY.md shows."},
	{ID: "L8", Text: "Names are as etcd has them: a resource is what the path of its key says, an encryption key what its values are marked with. " +
		"Whether a name means what it seems to mean nobody has checked."},
	{ID: "L9", Text: "Of etcd's files only those were looked through that were given. That they are of this cluster, and all that there are (every member's, and every backup), " +
		"the operator has to attest."},
}

// providerLimit is what cannot be shown of one provider.
type providerLimit struct {
	provider string // and its version, such as kms v2
	key      string // of its keys; goes on with L3
	closed   bool   // by opening every value, as far as the key goes
	cipher   string // of what it does; goes on with L4
}

const localKey = ": a value bears the name of its key, and new material under an old name looks like the old key."

var providerLimits = []providerLimit{
	{provider: "aescbc v1", key: "aescbc" + localKey, closed: true,
		cipher: "aescbc protects no integrity: a changed value can pass. It does not bind a value to its etcd key either, so that values can be swapped; " +
			"opening them shows that."},
	{provider: "aesgcm v1", key: "aesgcm" + localKey, closed: true,
		cipher: "aesgcm: a key is worn out after some 200,000 writes, and how many it has behind it cannot be seen."},
	{provider: "secretbox v1", key: "secretbox" + localKey, closed: true,
		cipher: "secretbox (XSalsa20 and Poly1305) is not approved by FIPS 140. It does not bind a value to its etcd key, so that values can be swapped; " +
			"opening them shows that."},
	{provider: "kms v1", key: "KMS v1: a value bears the name of the plugin alone, and a rotation behind the plugin cannot be seen.",
		cipher: "KMS v1: values from before Kubernetes 1.25 are AES-CBC without integrity, and look like the later ones of AES-GCM."},
	{provider: "kms v2", key: "KMS v2: the key ID is what the plugin said, and it is for the plugin that one ID is always one key.",
		cipher: "KMS v2: values are AES-GCM; what protects their data keys is the KMS's to show."},
}

// limitations are those that hold for a scan: opened, if every encrypted value in it was opened and is the object that its key names;
// and the providers that were found, each with its version.
func limitations(s *Scan, opened bool, looked []string, providers map[string]bool) []Limitation {
	encrypted := false
	for provider, found := range providers {
		encrypted = encrypted || found && provider != string(atrest.Identity)
	}
	var keys, ciphers string
	for _, l := range providerLimits {
		if !providers[l.provider] {
			continue
		}
		ciphers += " " + l.cipher
		if !l.closed || !opened {
			keys += " " + l.key
		}
	}
	hold := []Limitation{}
	for _, l := range limitationTexts {
		switch l.ID {
		case "L1":
			switch {
			case s.AsOf.Snapshot != "":
				l.Text = "It speaks of the newest revision in a file. What was written later is not in it."
			case s.AsOf.Later == nil:
				l.Text = "It speaks of one revision of etcd. What was written later is not in it, and was not counted."
			}
		case "L2":
			if opened || !encrypted {
				continue
			}
		case "L3":
			if keys == "" {
				continue
			}
			l.Text += keys
		case "L5":
			if s.Audit == nil || s.Audit.History == nil {
				l.Text += ", old revisions until etcd is compacted (--history counts what is left in them)"
			}
			switch {
			case len(looked) > 0 && !slices.Contains(looked, WALPlace):
				l.Text += ", its write-ahead log"
			case len(looked) == 0:
				l.Text += ", free pages until it is defragmented, its write-ahead log, snapshots and backups (--residue counts what is left in etcd's files)"
			}
			l.Text += "."
		case "L9":
			if len(looked) == 0 {
				continue
			}
		case "L4":
			if ciphers == "" {
				continue
			}
			l.Text += ciphers
		}
		hold = append(hold, l)
	}
	return hold
}
