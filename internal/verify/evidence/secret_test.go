package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
)

// Canaries: whatever of these turns up in a file was let out.
const (
	canaryNamespace = "canary-namespace"
	canaryName      = "canary-name"
	canaryKeyID     = "arn:aws:kms:eu-central-1:123456789012:key/canary-old"
	canaryNewKeyID  = "canary kek/2"
	canaryPlaintext = "canary-plaintext"
	canaryData      = "\xf1canary-ciphertext\xf2"
)

// seen is every form in which a file of a bundle can be read.
func seen(t *testing.T, dir, name string) []string {
	t.Helper()
	text := string(file(t, dir, name))
	all := []string{text}
	switch name {
	case RecordsFile:
		lines := unzip(t, []byte(text))
		all = append(all, lines)
		for line := range strings.Lines(lines) {
			var l Line
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatal(err)
			}
			if sealed, err := base64.StdEncoding.DecodeString(l.Record.Sealed); err == nil {
				all = append(all, string(sealed))
			}
		}
	case SignatureFile:
		var b SigstoreBundle
		if err := json.Unmarshal([]byte(text), &b); err != nil {
			t.Fatal(err)
		}
		payload, err := base64.StdEncoding.DecodeString(b.Envelope.Payload)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(payload))
	}
	return all
}

// leaky is an Observed in which canaries are everywhere that they can be.
func leaky(t *testing.T, server running, mode Mode) *Observed {
	t.Helper()
	secret := "/registry/secrets/" + canaryNamespace + "/" + canaryName
	fill(t, server, values{
		secret:        kmsV2("vault", canaryNewKeyID),
		secret + "-s": kmsV2("vault", canaryKeyID),
		secret + "-o": "k8s:enc:aescbc:v1:key1:" + strings.Repeat("\xff", 64-len(canaryData)) + canaryData,
		secret + "-p": `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"` + canaryName + `-p","namespace":"` + canaryNamespace + `"},"data":{"x":"` + canaryPlaintext + `"}}`,
		secret + "-w": plain("v1", "Secret", canaryNamespace, canaryName+"-else"), // in the place of another
		secret + "-g": canaryPlaintext,
		secret + "/x": canaryPlaintext,
		"/registry/configmaps/" + canaryNamespace + "/" + canaryName: plain("v1", "ConfigMap", canaryNamespace, canaryName),
	})
	o := look{expect: []string{"secrets=kms:vault:" + canaryNewKeyID}, history: true, mode: mode}.live(t, server)
	server.Put(t, secret+"-late", plain("v1", "Secret", canaryNamespace, canaryName+"-late"))
	lookOn(t.Context(), t, o, server)
	o.Reconciliation = reconciled(t, o)
	o.APIServers = asked(apiserver("a", wrote("secrets", "k8s:enc:kms:v2:vault:", 7)))
	o.APIServers.Disagreements = []string{"a offers " + canaryKeyID}
	o.APIServers.Servers[0].KMSKeyIDs["vault"] = hashOf(canaryKeyID)
	o.Tool.Arguments = []string{"keys", "--can-remove", "kms:vault:" + canaryKeyID, "--expect=secrets=kms:vault:" + canaryNewKeyID}
	o.CanRemove = &KeyAnswer{Key: "kms:vault:" + canaryKeyID, Answer: "no", Reason: "3 objects need kms:vault:" + canaryKeyID}
	old := *o.Report
	old.Entries = nil
	old.Groups = []audit.Group{{Resource: "secrets", AtRest: atrest.Encryption{Provider: atrest.KMS, Version: atrest.V2, Key: "vault", KeyID: canaryKeyID}, Objects: 1, Opened: "notTried"}}
	o.Migration = &Migration{APIVersion: APIVersion, Kind: "EvidenceMigration", Report: migrated, Before: &old, After: o.Report, Failures: []FailureCount{}}
	if mode == Names {
		o.Migration.NotRewritten = []Unwritten{{Key: secret, Fields: []string{}}}
	}
	o.KeyIDs = []string{canaryKeyID, canaryNewKeyID}
	var err error
	o.Exceptions, err = ParseExceptions([]byte(approval("reason", `"until `+canaryKeyID+` is gone"`, "selector", "{resource: secrets, namespace: "+canaryNamespace+", name: '"+canaryName+"-*'}")))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestNothingIsLetOut(t *testing.T) {
	t.Parallel()
	server := start(t)
	signer, _ := newKey(t, "ECDSA P-256")
	rendered := Rendering{"report.md", func(w io.Writer, d *Document) error {
		text, err := encode(d) // whatever a page could show
		if err == nil {
			_, err = w.Write(text)
		}
		return err
	}}
	digests := []string{canaryPlaintext, `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"` + canaryName + `-p","namespace":"` + canaryNamespace + `"},"data":{"x":"` + canaryPlaintext + `"}}`}
	for _, mode := range []Mode{Names, HMAC, Counts} {
		o := leaky(t, server, mode)
		dir, doc := write(t, o, Options{Signer: signer, CSV: mode != Counts, Renderings: []Rendering{rendered}})
		sound(t, dir)
		never := []string{canaryKeyID, canaryNewKeyID, "canary-old", "canary kek", canaryPlaintext, "canary-ciphertext", string(bytes.TrimSpace(redactionKey)),
			strings.Repeat("\xf3", 20), hex.EncodeToString([]byte(canaryPlaintext)), base64.StdEncoding.EncodeToString([]byte(canaryKeyID))}
		for _, d := range digests {
			sum := sha256.Sum256([]byte(d))
			never = append(never, hex.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(sum[:]), string(sum[:]))
		}
		if mode != Names {
			never = append(never, canaryNamespace, canaryName, "canary")
			for _, name := range []string{canaryName, canaryNamespace, "/registry/secrets/" + canaryNamespace + "/" + canaryName} {
				sum := sha256.Sum256([]byte(name)) // which anybody could guess
				never = append(never, hex.EncodeToString(sum[:]))
			}
		}
		shown := ""
		for _, name := range names(t, dir) {
			for _, text := range seen(t, dir, name) {
				shown += text
				for _, canary := range never {
					if i := strings.Index(text, canary); i >= 0 {
						t.Errorf("%s: %s has %q: %q", mode, name, canary, text[max(0, i-60):min(len(text), i+60)])
					}
				}
			}
		}
		for _, id := range []string{canaryKeyID, canaryNewKeyID} {
			if !strings.Contains(shown, encryption.KeyIDHash(id)) {
				t.Errorf("%s: the hash of %q is nowhere", mode, id)
			}
		}
		if mode == Names && !strings.Contains(shown, canaryName) {
			t.Error("names are hidden where they are to be shown: this test shows nothing")
		}
		if got := doc.Exceptions.Exceptions[0].Objects; got == 0 {
			t.Errorf("%s: the exception covers nothing: this test shows less", mode)
		}
		checkSeals(t, dir, o, mode)
	}
}

// checkSeals demands that whoever has the redaction key can tell each record's object, and that seals do not tell how long names are.
func checkSeals(t *testing.T, dir string, o *Observed, mode Mode) {
	t.Helper()
	if mode != HMAC {
		return
	}
	var keys []string
	for item, err := range o.Records.taken.All() {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, item.Key)
	}
	lengths := make(map[int]bool)
	n := 0
	for line := range strings.Lines(unzip(t, file(t, dir, RecordsFile))) {
		var l Line
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if got, err := o.Redactor.unseal(l.Record.Sealed); err != nil || got != keys[n] || l.Record.Namespace != "" {
			t.Errorf("record %d is of %q, %v, and should be of %q", n, got, err, keys[n])
		}
		lengths[len(l.Record.Sealed)] = true
		n++
	}
	if len(lengths) != 1 {
		t.Errorf("names of 40 to 60 bytes are sealed in %v", lengths)
	}
}
