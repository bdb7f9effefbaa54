package evidence

import (
	"bytes"
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
	"syscall"
)

// Options are what a bundle is to have beside what it always has.
type Options struct {
	CSV        bool
	Renderings []Rendering
	Signer     *SigningKey // nil: it is not signed
}

// ErrExists means that there is something already where a bundle was to be.
var ErrExists = errors.New("there is something in this directory already: a bundle is never written over")

// Vacant tells before anything is read whether a bundle can be written to a directory.
func Vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		_, err := os.Stat(filepath.Dir(filepath.Clean(dir)))
		return err
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s: %w", dir, ErrExists)
	}
	return nil
}

// Write makes the bundle in a directory that nobody sees before it is whole. The files are for their owner alone.
func Write(dir string, o *Observed, opts Options) (*Document, error) {
	if err := Vacant(dir); err != nil {
		return nil, err
	}
	dir = filepath.Clean(dir)
	partial, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+"-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(partial) // gone by then, if it became the bundle
	b := &bundle{dir: partial, digests: make(map[string]string)}
	doc, err := b.fill(o, opts)
	if err != nil {
		return nil, fmt.Errorf("writing the bundle: %w", err)
	}
	if err := settle(partial); err != nil {
		return nil, err
	}
	// Not os.Rename, which takes no directory's place, not even an empty one's.
	if err := syscall.Rename(partial, dir); err != nil {
		return nil, &os.LinkError{Op: "rename", Old: partial, New: dir, Err: err}
	}
	return doc, settle(filepath.Dir(dir))
}

// settle makes the entries of a directory last.
func settle(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// bundle is a directory that is being filled.
type bundle struct {
	dir     string
	digests map[string]string // by file, in hex
}

// write makes one file, and keeps its digest.
func (b *bundle) write(name string, fill func(io.Writer) error) error {
	file, err := os.OpenFile(filepath.Join(b.dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	sum := sha256.New()
	if err := fill(io.MultiWriter(file, sum)); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := file.Sync(); err != nil {
		return err
	}
	b.digests[name] = hex.EncodeToString(sum.Sum(nil))
	return file.Close()
}

func (b *bundle) writeBytes(name string, content []byte) error {
	return b.write(name, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// fill writes every file: the records first, as all else follows from them, then what is said of them, the statement about these files,
// its signature, and in the end the sums of everything.
func (b *bundle) fill(o *Observed, opts Options) (*Document, error) {
	if o.Exceptions != nil {
		today := o.Report.StartedAt
		if o.Today.After(today) {
			today = o.Today
		}
		o.Exceptions.begin(today)
	}
	if err := o.tellsNoNames(); err != nil {
		return nil, err
	}
	scrub := o.newScrubber()
	o.Exceptions.scrub(scrub)
	recorded, err := b.records(o, opts.CSV)
	if err != nil {
		return nil, err
	}
	doc, err := o.document(recorded, scrub)
	if err != nil {
		return nil, err
	}
	doc.Files = b.files(doc, opts)
	if opts.Signer != nil {
		doc.Signer = opts.Signer.described()
	}
	for name, part := range doc.parts() {
		text, err := encode(part)
		if err != nil {
			return nil, err
		}
		if err := b.writeBytes(name, text); err != nil {
			return nil, err
		}
	}
	for _, r := range append([]Rendering{{VerifyFile, writeVerify}}, opts.Renderings...) {
		if err := b.write(r.Name, func(w io.Writer) error { return r.Write(w, doc) }); err != nil {
			return nil, err
		}
	}
	statement, err := encode(doc.Scan.statement(b.digests))
	if err != nil {
		return nil, err
	}
	if err := b.writeBytes(StatementFile, statement); err != nil {
		return nil, err
	}
	if opts.Signer != nil {
		signature, err := opts.Signer.sign(statement)
		if err != nil {
			return nil, err
		}
		if err := b.writeBytes(SignatureFile, signature); err != nil {
			return nil, err
		}
		if err := b.writeBytes(PublicKeyFile, opts.Signer.public()); err != nil {
			return nil, err
		}
	}
	return doc, b.writeBytes(SumsFile, sums(b.digests))
}

// records writes the records, unless only counts are to be shown.
func (b *bundle) records(o *Observed, table bool) (r *recorded, err error) {
	write := func(lines, rows io.Writer) error {
		r, err = o.Records.writeRecords(o.Report, o.Redactor, o.Exceptions, lines, rows)
		return err
	}
	withRows := func(lines io.Writer) error {
		if !table {
			return write(lines, nil)
		}
		return b.write(CSVFile, func(rows io.Writer) error { return write(lines, rows) })
	}
	if o.Redactor.mode == Counts {
		return r, write(nil, nil)
	}
	return r, b.write(RecordsFile, withRows)
}

// document is what the bundle says, without any KMS key ID.
func (o *Observed) document(r *recorded, scrub *scrubber) (*Document, error) {
	doc := &Document{APIServers: new(APIServers), Exceptions: o.Exceptions.redacted(o.Redactor), Scan: new(Scan)}
	for _, part := range []struct{ from, to any }{{o.scan(r), doc.Scan}, {o.APIServers, doc.APIServers}} {
		text, err := scrub.encode(part.from)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, part.to); err != nil {
			return nil, err
		}
	}
	for _, report := range []struct {
		in  any
		out *any
	}{{o.Keys, &doc.Keys}, {o.Residue, &doc.Residue}} {
		if report.in == nil {
			continue
		}
		text, err := scrub.encode(report.in)
		if err != nil {
			return nil, err
		}
		*report.out = json.RawMessage(text)
	}
	if o.Migration != nil {
		text, err := scrub.encode(o.Migration)
		if err != nil {
			return nil, err
		}
		var report json.RawMessage
		doc.Migration = &Migration{Report: &report}
		if err := json.Unmarshal(text, doc.Migration); err != nil {
			return nil, err
		}
		doc.Migration.Report = report
	}
	return doc, nil
}

// parts are the JSON files of a document.
func (d *Document) parts() map[string]any {
	parts := map[string]any{ScanFile: d.Scan, APIServersFile: d.APIServers}
	if d.Exceptions != nil {
		parts[ExceptionsFile] = d.Exceptions
	}
	if d.Migration != nil {
		parts[MigrationFile] = d.Migration
	}
	if d.Keys != nil {
		parts[KeysFile] = d.Keys
	}
	if d.Residue != nil {
		parts[ResidueFile] = d.Residue
	}
	return parts
}

// files are all that the bundle is going to have.
func (b *bundle) files(d *Document, opts Options) []string {
	names := []string{VerifyFile, StatementFile, SumsFile}
	for name := range b.digests {
		names = append(names, name)
	}
	for name := range d.parts() {
		names = append(names, name)
	}
	for _, r := range opts.Renderings {
		names = append(names, r.Name)
	}
	if opts.Signer != nil {
		names = append(names, SignatureFile, PublicKeyFile)
	}
	slices.Sort(names)
	return names
}

// sums is SHA256SUMS as sha256sum writes it, in the order of the names.
func sums(digests map[string]string) []byte {
	var out bytes.Buffer
	for _, name := range sortedKeys(digests) {
		fmt.Fprintf(&out, "%s  %s\n", digests[name], name)
	}
	return out.Bytes()
}
