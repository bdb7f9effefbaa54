package evidence

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/verify"
)

// counted are the records that are judged alike.
type counted struct {
	form      *form
	exception string // ID of the approved deviation that covers them
	expired   bool   // and which has expired
	objects   int64
}

// approved tells whether what is the matter with them is approved, and still is.
func (c counted) approved() bool { return c.exception != "" && !c.expired }

// recorded is what a pass over the records comes to.
type recorded struct {
	merkle Merkle
	counts []counted
}

// writeRecords goes over all that was taken, in the order of the keys. It writes a line for each to lines and a row to rows; either may
// be nil.
func (r *Recorder) writeRecords(report *audit.Report, redactor *Redactor, exceptions *Exceptions, lines, rows io.Writer) (*recorded, error) {
	forms := make([]form, len(r.entries))
	for i, e := range r.entries {
		forms[i] = formOf(e, report.Judged())
	}
	out, table := newLineWriter(lines), newRowWriter(rows)
	closed := false
	defer func() {
		if !closed { // something went wrong, and nobody must go on writing
			_, _ = out.close(), table.close()
		}
	}()
	type class struct {
		entry     int32
		exception string
		expired   bool
	}
	classes := make(map[class]int64)
	var t tree
	w := newDrafting(forms, redactor, table != nil)
	defer w.making.Wait()
	write := func(drafts []draft) error {
		for i := range drafts {
			d := &drafts[i]
			if err := cmp.Or(d.err, t.add(d.leaf), out.write(d.salt, d.text), table.write(d.row)); err != nil {
				return err
			}
		}
		return nil
	}
	for item, err := range r.taken.All() {
		if err != nil {
			return nil, err
		}
		f := &forms[item.Entry]
		id, expired := "", false
		if exceptions != nil && len(f.codes) > 0 {
			id, expired = exceptions.match(key.Parse(f.entry.Root, item.Key), f.codes)
		}
		classes[class{item.Entry, id, expired}]++
		if err := write(w.take(item, id)); err != nil {
			return nil, err
		}
	}
	for range 2 {
		if err := write(w.handOver()); err != nil {
			return nil, err
		}
	}
	closed = true
	if err := cmp.Or(out.close(), table.close()); err != nil {
		return nil, err
	}
	root, err := t.root()
	if err != nil {
		return nil, err
	}
	all := &recorded{merkle: Merkle{Algorithm: treeAlgorithm, LeafFormat: leafFormat, TreeSize: t.size, Root: hex.EncodeToString(root[:])}}
	for c, n := range classes {
		all.counts = append(all.counts, counted{&forms[c.entry], c.exception, c.expired, n})
	}
	if t.size != report.Totals.Keys {
		return nil, fmt.Errorf("recording the scan: there are %d records of %d keys", t.size, report.Totals.Keys)
	}
	return all, nil
}

// population adds up what looks alike, in a fixed order.
func (r *recorded) population() []Population {
	at := make(map[Population]int)
	all := []Population{}
	for _, c := range r.counts {
		g := c.form.entry
		p := Population{Resource: resourceName(g), Provider: string(g.AtRest.Provider), Version: g.AtRest.Version, Key: g.AtRest.Key,
			KeyIDHash: c.form.record.KeyIDHash, State: c.form.state, Exception: c.exception, Expected: c.form.expected}
		i, ok := at[p]
		if !ok {
			i = len(all)
			at[p], all = i, append(all, p)
		}
		all[i].Objects += c.objects
		if g.Opened == etcdscan.Verified && g.AtRest.Provider != "identity" {
			all[i].Opened += c.objects
		}
	}
	slices.SortFunc(all, func(a, b Population) int {
		return cmp.Or(boolFirst(a.Expected, b.Expected), strings.Compare(a.Resource, b.Resource), strings.Compare(a.Provider, b.Provider),
			strings.Compare(a.Version, b.Version), strings.Compare(a.Key, b.Key), strings.Compare(a.KeyIDHash, b.KeyIDHash),
			strings.Compare(string(a.State), string(b.State)), strings.Compare(a.Exception, b.Exception))
	})
	return all
}

// resourceName is a resource as kubectl writes it; what is no object of the API by what it is.
func resourceName(e *etcdscan.Entry) string {
	if e.Resource == "" {
		return "(" + cmp.Or(e.Note, "not an object of the API") + ")"
	}
	return verify.Resource{Group: e.Group.Group, Name: e.Resource}.String()
}

func boolFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// aside writes what it is given in a goroutine of its own.
type aside struct {
	*bufio.Writer
	pipe *io.PipeWriter
	done chan error
}

func newAside(write func(io.Reader) error) *aside {
	from, to := io.Pipe()
	a := &aside{bufio.NewWriterSize(to, 128<<10), to, make(chan error, 1)}
	go func() {
		err := write(from)
		from.CloseWithError(err) // whoever goes on writing is told
		a.done <- err
	}()
	return a
}

// close waits until all is written.
func (a *aside) close() error {
	flushed := a.Flush()
	a.pipe.Close()
	return cmp.Or(<-a.done, flushed)
}

// lineWriter writes records.jsonl.gz, the same bytes for the same lines.
type lineWriter struct{ text *aside }

func newLineWriter(w io.Writer) *lineWriter {
	if w == nil {
		return nil
	}
	return &lineWriter{newAside(func(lines io.Reader) error {
		zip, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err != nil {
			return err
		}
		if _, err := io.Copy(zip, lines); err != nil {
			return err
		}
		return zip.Close()
	})}
}

func (l *lineWriter) write(salt, record []byte) error {
	if l == nil {
		return nil
	}
	line := append(l.text.AvailableBuffer(), `{"salt":"`...)
	line = hex.AppendEncode(line, salt)
	line = append(line, `","record":`...)
	line = append(line, record...)
	_, err := l.text.Write(append(line, "}\n"...))
	return err
}

func (l *lineWriter) close() error {
	if l == nil {
		return nil
	}
	return l.text.close()
}

// rowWriter writes records.csv.
type rowWriter struct {
	csv  *csv.Writer
	text *aside
}

var columns = []string{"key", "resource", "group", "namespace", "modRevision", "createRevision", "writes", "provider", "version", "keyName", "keyIDHash",
	"storedAs", "kind", "encoding", "opened", "authenticated", "note", "state", "codes", "exception"}

func newRowWriter(w io.Writer) *rowWriter {
	if w == nil {
		return nil
	}
	text := newAside(func(rows io.Reader) error {
		_, err := io.Copy(w, rows)
		return err
	})
	t := &rowWriter{csv.NewWriter(text), text}
	_ = t.csv.Write(columns) // Flush tells
	return t
}

func (t *rowWriter) write(row []string) error {
	if t == nil {
		return nil
	}
	return t.csv.Write(row)
}

// row is the record in the order of columns. It follows from what stands in its line.
func (r Record) row() []string {
	var codes []string
	for _, c := range r.Codes {
		codes = append(codes, string(c))
	}
	vouched := "false"
	if r.Vouched {
		vouched = "true"
	}
	row := []string{r.Key, r.Resource, r.Group, r.Namespace, r.Mod, r.Create, r.Writes, string(r.Provider), r.Form, r.KeyName, r.KeyIDHash,
		r.StoredAs, r.Kind, string(r.Encoding), string(r.Opened), vouched, r.Note, string(r.State), strings.Join(codes, " "), r.Exception}
	for i, cell := range row {
		if !utf8.ValidString(cell) {
			cell = string([]rune(cell))
		}
		row[i] = inertCell(cell)
	}
	return row
}

// rowSum is the digest that records.csv has to have.
type rowSum struct {
	sum hash.Hash
	csv *csv.Writer
}

func newRowSum() *rowSum {
	s := &rowSum{sum: sha256.New()}
	s.csv = csv.NewWriter(s.sum)
	_ = s.csv.Write(columns) // a hash takes all
	return s
}

func (s *rowSum) add(r Record) { _ = s.csv.Write(r.row()) }

func (s *rowSum) digest() string {
	s.csv.Flush()
	return hex.EncodeToString(s.sum.Sum(nil))
}

func (t *rowWriter) close() error {
	if t == nil {
		return nil
	}
	t.csv.Flush()
	return cmp.Or(t.text.close(), t.csv.Error())
}

// inertCell keeps a spreadsheet from taking a text for a formula: names are whoever's who may create objects. Some take wide characters
// for the narrow ones.
func inertCell(text string) string {
	first, _ := utf8.DecodeRuneInString(text)
	formula := text != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", first)
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '\ufffd' // it would steer a terminal, or end the row for whoever reads line by line
		}
		return r
	}, text)
	if formula {
		return "'" + text
	}
	return text
}
