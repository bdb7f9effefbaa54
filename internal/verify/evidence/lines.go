package evidence

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
)

// maxLine bounds a line of the records, in bytes: names in etcd are far shorter.
const maxLine = 1 << 20

// readLine is a line of the records, and what it counts for in the tree.
type readLine struct {
	Line
	raw  []byte // the record as it stands; valid until the next line
	hash tlog.Hash
}

const (
	lineStart  = `{"salt":"`
	lineMiddle = `","record":`
)

// readLines yields the lines of records.jsonl.gz.
func readLines(ctx context.Context, r io.Reader) iter.Seq2[readLine, error] {
	return func(yield func(readLine, error) bool) {
		in := bufio.NewReader(r) // of which gzip takes no more than is its own
		zip, err := gzip.NewReader(in)
		if err != nil {
			yield(readLine{}, errors.New("it is no gzip file"))
			return
		}
		zip.Multistream(false)
		lines := bufio.NewScanner(zip)
		lines.Buffer(make([]byte, 64<<10), maxLine)
		n := 0
		for lines.Scan() {
			line, err := parseLine(lines.Bytes())
			if n++; err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(readLine{}, fmt.Errorf("line %d: %w", n, err))
				return
			}
			if !yield(line, nil) {
				return
			}
		}
		if lines.Err() != nil {
			yield(readLine{}, errors.New("it is damaged, or cut off"))
		} else if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
			yield(readLine{}, errors.New("something follows its end"))
		}
	}
}

var errLine = errors.New("it is no record")

func parseLine(text []byte) (readLine, error) {
	var l readLine
	if err := strictly(text, &l.Line); err != nil {
		return l, errLine
	}
	salt, err := hex.DecodeString(l.Salt)
	from := len(lineStart) + len(l.Salt) + len(lineMiddle)
	if err != nil || len(salt) != saltLength || len(text) <= from || string(text[:from]) != lineStart+l.Salt+lineMiddle || text[len(text)-1] != '}' {
		return l, errLine
	}
	l.raw = text[from : len(text)-1]
	l.hash = leaf(salt, l.raw)
	return l, nil
}

// records compares the records with the tree and with what is said of them all.
func (c *checking) records(ctx context.Context) error {
	check := c.begin("records")
	s := c.doc.Scan
	if !c.has(RecordsFile) {
		if s.Redaction.Mode != Counts {
			check.wrong(RecordsFile, "it is missing")
		}
		return nil
	}
	file, err := c.root.Open(RecordsFile)
	if err != nil {
		return err
	}
	defer file.Close()
	var t tree
	type class struct {
		resource, provider, form, key, keyID, exception string
		state                                           State
	}
	found := make(map[class]int64)
	before, rows := "", newRowSum()
	for l, err := range readLines(ctx, file) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			check.wrong(RecordsFile, "%v", err)
			return nil
		}
		rec := l.Record
		if s.Redaction.Mode == Names {
			if t.size > 0 && rec.etcdKey() <= before {
				check.wrong(RecordsFile, "record %d is not in the order of the keys", t.size)
			}
			before = rec.etcdKey()
		}
		if mod, err := strconv.ParseInt(rec.Mod, 10, 64); err != nil || mod > s.AsOf.Revision {
			check.wrong(RecordsFile, "record %d was written after revision %d", t.size, s.AsOf.Revision)
		}
		found[class{rec.name(), string(rec.Provider), rec.Form, rec.KeyName, rec.KeyIDHash, rec.Exception, rec.State}]++
		if err := t.add(l.hash); err != nil {
			return err
		}
		rows.add(rec)
		if len(check.Problems) > 20 {
			check.wrong(RecordsFile, "and so on")
			return nil
		}
	}
	root, err := t.root()
	if err != nil {
		return err
	}
	if t.size != s.Merkle.TreeSize {
		check.wrong(RecordsFile, "it has %d records, and the tree %d", t.size, s.Merkle.TreeSize)
	}
	if hex.EncodeToString(root[:]) != s.Merkle.Root {
		check.wrong(RecordsFile, "its Merkle root is not the one in scan.json")
	}
	if c.has(CSVFile) && rows.digest() != c.digests[CSVFile] {
		check.wrong(CSVFile, "it does not say what the records say")
	}
	for _, p := range s.Population {
		found[class{p.Resource, p.Provider, p.Version, p.Key, p.KeyIDHash, p.Exception, p.State}] -= p.Objects
	}
	for _, n := range found {
		if n != 0 {
			check.wrong(RecordsFile, "its records do not add up to the population in scan.json")
			break
		}
	}
	return nil
}
