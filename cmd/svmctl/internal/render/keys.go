package render

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/keys"
	"github.com/svmctl/svmctl/internal/verify"
)

// Keys writes where each key is needed.
func Keys(w io.Writer, r *keys.Report, opts Options) error {
	switch opts.Format {
	case JSON, YAML:
		return keysDocument(w, r, opts)
	case CSV:
		return keysCSV(w, r)
	}
	if _, err := io.WriteString(w, fileHeading(r.Source)); err != nil {
		return err
	}
	if err := keysTable(w, r, opts); err != nil {
		return err
	}
	if err := keptTable(w, r, opts.Palette); err != nil {
		return err
	}
	_, err := io.WriteString(w, keysSummary(r, opts.Palette))
	return err
}

func keysTable(w io.Writer, r *keys.Report, opts Options) error {
	wide := opts.Format == Wide
	if len(r.Keys) == 0 {
		_, err := io.WriteString(w, "No key is known: nothing that was read is encrypted.\n")
		return err
	}
	header := []string{"KEY", "WRITES", "OBJECTS", "OPENED", "REMOVABLE", "REASON"}
	if wide {
		header = append(header, "READS", "UNDER IT", "DESTROYABLE", "KEY ID HASH")
	}
	if r.Scope.History {
		header = append(header, "OLD REVISIONS")
	}
	t := newTable(header, 2, 3)
	for _, row := range r.Keys {
		cells := []string{keyName(r, row), dash(visibleList(row.Writes)), strconv.FormatInt(row.Total, 10), strconv.FormatInt(row.Opened, 10),
			opts.Palette.answer(row.Removable), keyReason(r, row, wide)}
		if wide {
			cells = append(cells, dash(visibleList(row.Reads)), dash(visible(keys.ObjectsText(row.Objects))), opts.Palette.answer(row.Destroyable), dash(row.KeyIDHash))
		}
		if r.Scope.History {
			cells = append(cells, strconv.FormatInt(row.History, 10))
		}
		t.row(cells...)
	}
	return t.write(w)
}

func keyName(r *keys.Report, row keys.Row) string {
	if row.Provider == atrest.Identity {
		return "plaintext"
	}
	name := keySpec(row.Provider, row.Key, row.KeyID, row.Twin)
	if r.Encryption != nil && !row.Configured && row.KeyID == "" {
		name += " (not in the file)"
	}
	return name
}

func keySpec(provider atrest.Provider, key, keyID string, twin int) string {
	name := string(provider)
	for _, part := range []string{key, keyID} {
		if part != "" {
			name += ":" + part
		}
	}
	name = visible(name)
	if twin > 0 {
		name += fmt.Sprintf(" (number %d of that name)", twin+1)
	}
	return name
}

// keptTable has a row for each file and key, and for each file that needs none.
func keptTable(w io.Writer, r *keys.Report, palette Palette) error {
	if len(r.Snapshots) == 0 {
		return nil
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	t := newTable([]string{"FILE", "REVISION", "SHA-256", "NEEDS", "OBJECTS", "PLAINTEXT", "PROBLEM"}, 1, 4)
	for _, kept := range r.Snapshots {
		integrity, revision := kept.Integrity, strconv.FormatInt(kept.Revision, 10)
		if kept.Revision == 0 {
			integrity, revision = "-", "-"
		}
		plaintext := dash(visible(keys.ObjectsText(kept.Plaintext)))
		if len(kept.Plaintext) > 0 {
			plaintext = palette.bad.Sprint(plaintext)
		}
		cells := []string{visible(kept.Path), revision, integrity, "-", "", plaintext, ""}
		if kept.Problem != "" {
			cells[3], cells[6] = "?", palette.doubtful.Sprint(visible(kept.Problem))
		}
		for i, need := range kept.Needs {
			if i > 0 {
				cells = []string{"", "", "", "", "", "", ""}
			}
			cells[3], cells[4] = keySpec(need.Provider, need.Key, need.KeyID, need.Twin), strconv.FormatInt(need.Total, 10)
			t.row(cells...)
		}
		if len(kept.Needs) == 0 {
			t.row(cells...)
		}
	}
	return t.write(w)
}

// keyReason is short where the same is said below of every key.
func keyReason(r *keys.Report, row keys.Row, wide bool) string {
	if !wide && slices.Contains(r.Doubts, row.Reason) {
		return "see the doubts below"
	}
	return visible(row.Reason)
}

// canRemoveQuestion asks about a key of the file, or about one that a KMS plugin has.
func canRemoveQuestion(key string) string {
	if v, err := verify.ParseValue(key); err == nil && v.KeyID != "" {
		return fmt.Sprintf("Can the KMS plugin %s lose its key %s?", visible(v.Key), visible(v.KeyID))
	}
	return fmt.Sprintf("Can %s be removed from the EncryptionConfiguration?", visible(key))
}

func (p Palette) answer(a keys.Answer) string {
	switch a {
	case keys.Yes:
		return p.good.Sprint(a)
	case keys.No:
		return p.bad.Sprint(a)
	}
	return p.doubtful.Sprint(a)
}

func keysSummary(r *keys.Report, palette Palette) string {
	out := &strings.Builder{}
	out.WriteString("\n")
	for _, warning := range r.Warnings {
		fmt.Fprintf(out, "%s %s\n", palette.doubtful.Sprint("Warning:"), visible(warning))
	}
	for _, doubt := range r.Doubts {
		fmt.Fprintf(out, "%s %s\n", palette.doubtful.Sprint("Doubt:"), visible(doubt))
	}
	switch {
	case r.Source.Type == "snapshot" && r.Source.Path == "":
		fmt.Fprintf(out, "Read: %s", Count(int64(len(r.Snapshots)), "file"))
	case r.Source.Type == "snapshot":
		fmt.Fprintf(out, "Read at revision %d: %s", r.Source.Revision, visible(r.Source.Path))
	case r.Scope.Outside != nil && *r.Scope.Outside == 0:
		fmt.Fprintf(out, "Read at revision %d: all of etcd, with the storage roots %s", r.Source.Revision, visibleList(r.Scope.Prefixes))
	default:
		fmt.Fprintf(out, "Read at revision %d of etcd under %s", r.Source.Revision, visibleList(r.Scope.Prefixes))
	}
	for _, f := range r.Further {
		fmt.Fprintf(out, ", and %s at %s", visibleList(f.Resources), visibleList(f.Source.Endpoints))
	}
	out.WriteString("\n")
	if r.Encryption != nil {
		fmt.Fprintf(out, "EncryptionConfiguration %s, %s\n", visible(r.Encryption.Path), r.Encryption.Hash)
	}
	if r.APIServers != nil {
		out.WriteString(apiserversLine(*r.APIServers, out.String()))
	}
	if a := r.CanRemove; a != nil {
		fmt.Fprintf(out, "%s %s: %s\n", canRemoveQuestion(a.Key), palette.answer(a.Answer), visible(a.Reason))
		if len(a.After) > 0 {
			fmt.Fprintf(out, "Needed to destroy the key itself, as these may still hold values under it:\n  %s\n", strings.Join(a.After, "\n  "))
		}
	}
	return out.String()
}

func keysDocument(w io.Writer, r *keys.Report, opts Options) error {
	head := struct {
		*keys.Report
		Source     *audit.Source      `json:"source"`
		APIServers *agreementDocument `json:"apiservers"`
		Keys       list               `json:"keys"` // one to a line
	}{Report: r, Source: &r.Source}
	if r.Source.Type == "snapshot" && r.Source.Path == "" {
		head.Source = nil // only the files of --snapshots were read
	}
	if r.APIServers != nil {
		d := documentOf(*r.APIServers)
		head.APIServers = &d
	}
	d := newDocument(opts.Format)
	head.Keys = d.list(func(item func(any) error) error {
		for _, row := range r.Keys {
			if err := item(row); err != nil {
				return err
			}
		}
		return nil
	})
	return d.write(w, head)
}

func keysCSV(w io.Writer, r *keys.Report) error {
	out := csv.NewWriter(w)
	rows := [][]string{{"provider", "version", "key", "keyID", "keyIDHash", "twin", "configured", "write", "writes", "reads", "objects", "total", "opened", "history", "snapshots", "removable", "destroyable", "reason"}}
	for _, row := range r.Keys {
		var objects []string
		for _, name := range slices.Sorted(maps.Keys(row.Objects)) {
			objects = append(objects, fmt.Sprintf("%s=%d", name, row.Objects[name]))
		}
		rows = append(rows, []string{string(row.Provider), row.Version, row.Key, row.KeyID, row.KeyIDHash, strconv.Itoa(row.Twin), strconv.FormatBool(row.Configured),
			strconv.FormatBool(row.Write), strings.Join(row.Writes, " "), strings.Join(row.Reads, " "), strings.Join(objects, " "),
			strconv.FormatInt(row.Total, 10), strconv.FormatInt(row.Opened, 10), strconv.FormatInt(row.History, 10), strconv.Itoa(row.Snapshots), string(row.Removable), string(row.Destroyable), row.Reason})
	}
	return writeCSV(out, rows)
}
