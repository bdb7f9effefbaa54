package evidence

import (
	"bytes"
	"context"
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"
)

// Sample is some records of a bundle, each with the proof that it is among those that were stated.
type Sample struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"` // EvidenceSample
	TreeSize   int64       `json:"treeSize"`
	Root       string      `json:"root"` // hex
	Records    []Disclosed `json:"records"`
}

// Disclosed is one record of a sample.
type Disclosed struct {
	Index   int64           `json:"index"` // in the order of the etcd keys, from 0
	Salt    string          `json:"salt"`
	Record  json.RawMessage `json:"record"`             // as it stands in its line, but for white space
	Key     string          `json:"key"`                // of etcd
	Bytes   []byte          `json:"keyBytes,omitempty"` // of the key, where it is no UTF-8
	Opening string          `json:"opening,omitempty"`
	Proof   []string        `json:"proof"` // RFC 6962, from the leaf's sibling to the root's
}

// Wanted are the records that somebody asks for.
type Wanted struct {
	Indexes []int64
	Keys    []string // of etcd
}

// ErrNoRecords means that a bundle shows counts alone.
var ErrNoRecords = errors.New("the records are not in this bundle: it shows counts alone")

// ErrNoRedactionKey means that names are hidden, and the key to them was not given.
var ErrNoRedactionKey = errors.New("the names in this bundle are hidden with a redaction key, which was not given")

// Disclose hands out records of a bundle. It reads them twice, and keeps no more of them than are handed out.
func Disclose(ctx context.Context, dir string, wanted Wanted, redactor *Redactor) (*Sample, error) {
	scan, err := readScan(dir)
	if err != nil {
		return nil, err
	}
	lines := func(yield func(readLine, error) bool) {
		file, err := os.Open(filepath.Join(dir, RecordsFile))
		if err != nil {
			yield(readLine{}, err)
			return
		}
		defer file.Close()
		readLines(ctx, file)(yield)
	}
	switch mode := scan.Redaction.Mode; {
	case mode == Counts:
		return nil, ErrNoRecords
	case mode == HMAC && redactor == nil:
		return nil, ErrNoRedactionKey
	case mode == HMAC && redactor.keyID() != scan.Redaction.KeyID:
		return nil, errors.New("the names in this bundle are hidden with another redaction key")
	}
	s := &Sample{APIVersion: APIVersion, Kind: "EvidenceSample", TreeSize: scan.Merkle.TreeSize, Root: scan.Merkle.Root, Records: []Disclosed{}}
	if s.Records, err = choose(lines, wanted, scan, redactor); err != nil {
		return nil, err
	}
	var numbers []int64
	for _, r := range s.Records {
		numbers = append(numbers, r.Index)
	}
	root, proofs, err := prove(scan.Merkle.TreeSize, numbers, func(yield func(tlog.Hash, error) bool) {
		for l, err := range lines {
			if !yield(l.hash, err) {
				return
			}
		}
	})
	switch {
	case err != nil:
		return nil, err
	case hex.EncodeToString(root[:]) != scan.Merkle.Root:
		return nil, errors.New("the records do not have the Merkle root in scan.json: svmctl evidence verify tells what is wrong")
	}
	for i, p := range proofs {
		for _, h := range p {
			s.Records[i].Proof = append(s.Records[i].Proof, hex.EncodeToString(h[:]))
		}
	}
	return s, nil
}

func readScan(dir string) (*Scan, error) {
	text, err := os.ReadFile(filepath.Join(dir, ScanFile))
	if err != nil {
		return nil, err
	}
	scan := new(Scan)
	if err := strictly(text, scan); err != nil {
		return nil, fmt.Errorf("%s does not have the form that docs/schema tells", filepath.Join(dir, ScanFile))
	}
	return scan, nil
}

// choose takes the wanted records in their order.
func choose(lines iter.Seq2[readLine, error], wanted Wanted, scan *Scan, redactor *Redactor) ([]Disclosed, error) {
	missing := make(map[string]string) // as records have it → as it was asked for
	for _, k := range wanted.Keys {
		if scan.Redaction.Mode == Names {
			missing[k] = k
		} else {
			missing[hidden(redactor.opening(k), k)] = k
		}
	}
	for _, n := range wanted.Indexes {
		if n < 0 || n >= scan.Merkle.TreeSize {
			return nil, fmt.Errorf("there is no record %d: they are numbered from 0 to %d", n, scan.Merkle.TreeSize-1)
		}
	}
	var chosen []Disclosed
	n := int64(-1)
	for l, err := range lines {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", RecordsFile, err)
		}
		n++
		name := l.Record.etcdKey()
		_, named := missing[name]
		if !named && !slices.Contains(wanted.Indexes, n) {
			continue
		}
		delete(missing, name)
		d := Disclosed{Index: n, Salt: l.Salt, Record: slices.Clone(l.raw), Key: l.Record.Key, Bytes: l.Record.KeyBytes, Proof: []string{}}
		if scan.Redaction.Mode != Names {
			if d.Key, err = redactor.unseal(l.Record.Sealed); err != nil {
				return nil, fmt.Errorf("record %d: %w", n, err)
			}
			d.Opening = hex.EncodeToString(redactor.opening(d.Key))
			if !utf8.ValidString(d.Key) {
				d.Bytes = []byte(d.Key)
			}
		}
		chosen = append(chosen, d)
	}
	for _, hash := range sortedKeys(missing) {
		return nil, fmt.Errorf("there was no %s at revision %d", printable(missing[hash]), scan.AsOf.Revision)
	}
	return chosen, nil
}

// SampleState is what came of checking a sample.
type SampleState struct {
	Records []SampledRecord `json:"records"`
}

// SampledRecord is one record that was proven to be among those that were stated.
type SampledRecord struct {
	Index  int64  `json:"index"`
	Key    string `json:"key"`
	Record Record `json:"record"`
}

// CheckSample checks a sample against a bundle that was checked. Of the bundle it needs the statement alone.
func (v *Verification) CheckSample(text []byte, statement *Statement) {
	check := v.begin("sample")
	defer v.conclude()
	v.Sample = &SampleState{Records: []SampledRecord{}}
	var s Sample
	if err := strictly(text, &s); err != nil {
		check.wrong("", "the sample does not have the form that docs/schema tells")
		return
	}
	if p := statement.Predicate.Population; s.Root != p.RecordsMerkleRoot || fmt.Sprint(s.TreeSize) != p.TreeSize {
		check.wrong("", "the sample is of other records than the statement speaks of")
		return
	}
	if len(s.Records) == 0 {
		check.open("", "the sample is empty")
	}
	seen := make(map[int64]bool)
	for _, d := range s.Records {
		record, err := d.prove(s.TreeSize, s.Root)
		if err == nil && seen[d.Index] {
			err = errors.New("it is in the sample twice")
		}
		seen[d.Index] = true
		if err != nil {
			check.wrong("", "record %d: %v", d.Index, err)
			continue
		}
		v.Sample.Records = append(v.Sample.Records, SampledRecord{d.Index, d.Key, record})
	}
}

// prove tells whether the record is among those with a root.
func (d Disclosed) prove(size int64, root string) (Record, error) {
	var record Record
	salt, err := hex.DecodeString(d.Salt)
	if err != nil || len(salt) != saltLength {
		return record, errors.New("its salt is none")
	}
	raw, err := compact(d.Record)
	if err != nil || strictly(raw, &record) != nil {
		return record, errLine
	}
	var proof tlog.RecordProof
	for _, text := range d.Proof {
		h, err := parseHash(text)
		if err != nil {
			return record, err
		}
		proof = append(proof, h)
	}
	want, err := parseHash(root)
	if err != nil {
		return record, err
	}
	if err := tlog.CheckRecord(proof, size, want, d.Index, leaf(salt, raw)); err != nil {
		return record, errors.New("it is not among the records that were stated, or not there")
	}
	if record.Sealed == "" {
		if record.Key != d.Key || !bytes.Equal(record.KeyBytes, d.Bytes) {
			return record, errors.New("it is another key's")
		}
		return record, nil
	}
	opening, err := hex.DecodeString(d.Opening)
	name := d.Key
	if len(d.Bytes) > 0 {
		name = string(d.Bytes)
	}
	if err != nil || !hmac.Equal([]byte(hidden(opening, name)), []byte(record.Key)) {
		return record, errors.New("the key that is named is not the one that the record hides")
	}
	return record, nil
}

func parseHash(text string) (h tlog.Hash, err error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(h) {
		return h, errors.New("a hash in its proof is none")
	}
	return tlog.Hash(raw), nil
}

// compact takes the white space out of a record that was written into a larger document.
func compact(record json.RawMessage) ([]byte, error) {
	var out bytes.Buffer
	err := json.Compact(&out, record)
	return out.Bytes(), err
}

// Encode writes the sample as JSON.
func (s *Sample) Encode() ([]byte, error) { return encode(s) }
