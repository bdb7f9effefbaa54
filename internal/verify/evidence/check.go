package evidence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/verify"
)

// maxDocument bounds what a JSON file of a bundle may be, in bytes. Records are read line by line.
const maxDocument = 256 << 20

// ErrNoBundle means that a directory holds nothing that a bundle has.
var ErrNoBundle = errors.New("this is no evidence bundle: it has neither statement.json nor scan.json")

// Verification is what came of checking a bundle.
type Verification struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"` // EvidenceVerification
	Bundle     string         `json:"bundle"`
	Verdict    verify.Verdict `json:"verdict"`
	Checks     []Checked      `json:"checks"`
	Signature  SignatureState `json:"signature"`
	Claims     []Claim        `json:"claims"`  // as the bundle has them
	Sample     *SampleState   `json:"sample"`  // null: none was given
	Changed    *Changed       `json:"changed"` // null: no etcd was compared

	Scan *Scan `json:"-"` // nil: it cannot be read
}

// Checked is one thing that was checked.
type Checked struct {
	What     string         `json:"what"`
	Verdict  verify.Verdict `json:"verdict"`
	Problems []Problem      `json:"problems"`
}

// Problem is something that does not hold.
type Problem struct {
	File    string `json:"file"` // empty: the bundle as a whole
	Message string `json:"message"`
}

// SignatureState is what the signature shows.
type SignatureState struct {
	Signed      bool   `json:"signed"`
	Fingerprint string `json:"fingerprint"` // of the key that the signature was made with; empty: not known
	// Trusted: the key is the one that was given to the verifier. Else it came with the bundle, and shows nothing of who signed.
	Trusted bool `json:"trusted"`
}

// begin is a check of its own.
func (v *Verification) begin(what string) *Checked {
	v.Checks = append(v.Checks, Checked{What: what, Verdict: verify.Complete, Problems: []Problem{}})
	return &v.Checks[len(v.Checks)-1]
}

func (c *Checked) wrong(file, format string, a ...any) { c.add(verify.Incomplete, file, format, a...) }

func (c *Checked) open(file, format string, a ...any) {
	c.add(verify.Indeterminate, file, format, a...)
}

func (c *Checked) add(verdict verify.Verdict, file, format string, a ...any) {
	c.Verdict = c.Verdict.Worse(verdict)
	c.Problems = append(c.Problems, Problem{File: inertLine(fmt.Sprintf("%.200s", file)), Message: fmt.Sprintf(format, a...)})
}

// conclude is the verdict over all checks.
func (v *Verification) conclude() {
	v.Verdict = verify.Complete
	for _, c := range v.Checks {
		v.Verdict = v.Verdict.Worse(c.Verdict)
	}
}

// checking is one check of a bundle.
type checking struct {
	*Verification
	root    *os.Root
	digests map[string]string
	doc     Document
}

// Check checks a bundle without asking anybody. Without a key, a signature is compared with the key in the bundle. An error means that
// it cannot be looked at.
func Check(ctx context.Context, dir string, key *PublicKey) (*Verification, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	c := &checking{root: root, digests: make(map[string]string), Verification: &Verification{
		APIVersion: APIVersion, Kind: "EvidenceVerification", Bundle: dir, Checks: []Checked{}, Claims: []Claim{}}}
	if err := c.digest(ctx); err != nil {
		return nil, err
	}
	if !c.has(StatementFile) && !c.has(ScanFile) {
		return nil, ErrNoBundle
	}
	c.sums()
	c.statement()
	c.signature(key)
	c.forms()
	if c.doc.Scan != nil {
		c.Scan = c.doc.Scan
		c.Claims = c.Scan.Claims
		c.agreement()
		if err := c.records(ctx); err != nil {
			return nil, err
		}
	}
	c.conclude()
	return c.Verification, nil
}

// digest reads every file once.
func (c *checking) digest(ctx context.Context) error {
	files := c.begin("files")
	return fs.WalkDir(c.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case name == ".":
			return nil
		case d.IsDir():
			files.wrong(name, "a directory, which no bundle has")
			return fs.SkipDir
		case !d.Type().IsRegular():
			files.wrong(name, "no regular file")
			return nil
		}
		file, err := c.root.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		sum := sha256.New()
		if _, err := io.Copy(sum, file); err != nil {
			return err
		}
		c.digests[name] = hex.EncodeToString(sum.Sum(nil))
		return nil
	})
}

func (c *checking) has(name string) bool {
	_, ok := c.digests[name]
	return ok
}

// read reads a file that was found to be a regular one: another could keep it waiting.
func (c *checking) read(name string) ([]byte, error) {
	if !c.has(name) {
		return nil, fs.ErrNotExist
	}
	file, err := c.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxDocument+1))
	if err == nil && len(text) > maxDocument {
		err = errors.New("it is larger than any bundle's")
	}
	return text, err
}

// sums compares SHA256SUMS with the files.
func (c *checking) sums() {
	check := c.begin("sums")
	text, err := c.read(SumsFile)
	if err != nil {
		check.wrong(SumsFile, "it is missing")
		return
	}
	of := make(map[string]string)
	for name, digest := range c.digests {
		if name != SumsFile {
			of[name] = digest
		}
	}
	if bytes.Equal(text, sums(of)) {
		return
	}
	// Who signs a finished bundle adds files to it, and leaves the sums as they are.
	for _, added := range []string{PublicKeyFile, SignatureFile} {
		if !bytes.Contains(text, []byte("  "+added+"\n")) {
			delete(of, added)
		}
	}
	if bytes.Equal(text, sums(of)) {
		return
	}
	listed := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if digest, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  "); ok {
			listed[name] = digest
		}
	}
	for _, name := range sortedKeys(of) {
		switch digest, ok := listed[name]; {
		case !ok:
			check.wrong(name, "SHA256SUMS does not name it")
		case digest != of[name]:
			check.wrong(name, "it is not what SHA256SUMS says")
		}
	}
	for _, name := range sortedKeys(listed) {
		if _, ok := of[name]; !ok {
			check.wrong(name, "SHA256SUMS names it, and it is missing")
		}
	}
	if len(check.Problems) == 0 {
		check.wrong(SumsFile, "it is not as svmctl writes it")
	}
}

// printable keeps the name of what is no file of a bundle from fooling a terminal.
func printable(name string) string { return inertLine(fmt.Sprintf("%.80q", name)) }

// unsaid are the files that a statement does not speak of: they are made after it.
var unsaid = []string{StatementFile, SignatureFile, PublicKeyFile, SumsFile}

// statement compares what was stated with the files.
func (c *checking) statement() {
	check := c.begin("statement")
	text, err := c.read(StatementFile)
	if err != nil {
		check.wrong(StatementFile, "it is missing, or cannot be read")
		return
	}
	var s Statement
	if other := c.otherSchema(); other != "" {
		check.open(StatementFile, "%s", other)
		return
	}
	if strictly(text, &s) != nil || valid(StatementFile, text) != nil || s.Type != statementType || s.PredicateType != PredicateType {
		check.wrong(StatementFile, "it is no statement of svmctl")
		return
	}
	stated := make(map[string]string)
	for _, subject := range s.Subject {
		stated[subject.Name] = subject.Digest.SHA256
	}
	for _, name := range sortedKeys(c.digests) {
		if slices.Contains(unsaid, name) {
			continue
		}
		switch digest, ok := stated[name]; {
		case !ok:
			check.wrong(name, "the statement does not speak of it")
		case digest != c.digests[name]:
			check.wrong(name, "it is not the file that the statement speaks of")
		}
	}
	for _, name := range sortedKeys(stated) {
		if !c.has(name) {
			check.wrong(name, "the statement speaks of it, and it is missing")
		}
	}
	for _, name := range []string{ScanFile, APIServersFile, VerifyFile} {
		if !c.has(name) {
			check.wrong(name, "it is missing")
		}
	}
}

// signature checks who signed.
func (c *checking) signature(key *PublicKey) {
	check := c.begin("signature")
	signature, err := c.read(SignatureFile)
	public, keyErr := c.read(PublicKeyFile)
	if err != nil {
		// VERIFY.md lists the files of the bundle, and the statement has its digest.
		listed, _ := c.read(VerifyFile)
		switch {
		case key != nil:
			check.wrong("", "it is not signed")
		case bytes.Contains(listed, []byte("- "+SignatureFile+"\n")):
			check.wrong(SignatureFile, "it is missing: VERIFY.md lists it")
		case keyErr == nil:
			check.wrong(PublicKeyFile, "there is a key, and no signature")
		}
		return
	}
	c.Signature.Signed = true
	given := key != nil
	if keyErr == nil {
		enclosed, err := ParsePublicKey(public)
		switch {
		case err != nil:
			check.wrong(PublicKeyFile, "%v", err)
		case key == nil:
			key = enclosed
		case enclosed.Fingerprint() != key.Fingerprint():
			check.wrong(PublicKeyFile, "it is another key than the one that was given")
		}
	}
	if key == nil {
		if len(check.Problems) == 0 {
			check.open(SignatureFile, "--public-key names the public key to check it with")
		}
		return
	}
	statement, err := c.read(StatementFile)
	if err != nil {
		check.wrong(StatementFile, "it cannot be read")
		return
	}
	if err := checkSignature(signature, statement, key); err != nil {
		check.wrong(SignatureFile, "%v", err)
		return
	}
	c.Signature.Fingerprint, c.Signature.Trusted = key.Fingerprint(), given
}

// forms reads the JSON files: each has every field of its schema, and no other.
func (c *checking) forms() {
	check := c.begin("form")
	if other := c.otherSchema(); other != "" {
		check.open(ScanFile, "%s", other)
		return
	}
	var (
		scan       Scan
		servers    APIServers
		exceptions Exceptions
		migration  Migration
		report     json.RawMessage
		keys       json.RawMessage
		residue    json.RawMessage
	)
	migration.Report = &report
	for _, file := range []struct {
		name string
		into any
		take func()
	}{
		{ScanFile, &scan, func() { c.doc.Scan = &scan }},
		{APIServersFile, &servers, func() { c.doc.APIServers = &servers }},
		{ExceptionsFile, &exceptions, func() { c.doc.Exceptions = &exceptions }},
		{MigrationFile, &migration, func() { c.doc.Migration = &migration }},
		{KeysFile, &keys, func() { c.doc.Keys = keys }},
		{ResidueFile, &residue, func() { c.doc.Residue = residue }},
	} {
		if !c.has(file.name) {
			continue
		}
		text, err := c.read(file.name)
		if err != nil {
			check.wrong(file.name, "it cannot be read: %v", err)
			continue
		}
		if strictly(text, file.into) != nil || valid(file.name, text) != nil {
			check.wrong(file.name, "it does not have the form that docs/schema tells")
			continue
		}
		if again, err := encode(file.into); err != nil || !bytes.Equal(again, text) && file.name != KeysFile && file.name != ResidueFile && file.name != MigrationFile {
			check.wrong(file.name, "it is not written as svmctl writes it")
		}
		file.take()
	}
	if text, err := c.read(StatementFile); err == nil && c.doc.Scan != nil {
		of := make(map[string]string)
		for name, digest := range c.digests {
			if !slices.Contains(unsaid, name) {
				of[name] = digest
			}
		}
		if again, err := encode(c.doc.Scan.statement(of)); err != nil || !bytes.Equal(again, text) {
			check.wrong(StatementFile, "it does not say what scan.json says")
		}
	}
}

// otherSchema tells that the files have the form of another svmctl. It is empty where they should have that of this one.
func (c *checking) otherSchema() string {
	text, err := c.read(ScanFile)
	if err != nil {
		return ""
	}
	var made struct {
		Schema *int `json:"schemaVersion"`
		Tool   struct {
			Version string `json:"version"`
		} `json:"tool"`
	}
	if json.Unmarshal(text, &made) != nil || made.Schema != nil && *made.Schema == SchemaVersion {
		return ""
	}
	return fmt.Sprintf("the bundle has the form of svmctl %s, which this one does not know: check it with that", printable(made.Tool.Version))
}

// strictly decodes one JSON document that has no field but known ones, and nothing behind it.
func strictly(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows")
	}
	return nil
}

// IsBundle tells whether a directory looks like a bundle.
func IsBundle(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, StatementFile))
	return err == nil && info.Mode().IsRegular()
}
