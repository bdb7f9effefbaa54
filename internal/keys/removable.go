package keys

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/verify"
)

// Wanted is the key that somebody wants to remove. A KMS provider without a key ID stands for all of its keys.
type Wanted struct{ verify.Value }

// ParseWanted reads PROVIDER:KEY[:KEYID], or identity.
func ParseWanted(text string) (*Wanted, error) {
	v, err := verify.ParseValue(text)
	switch {
	case err != nil:
		return nil, err
	case v.Provider == verify.Encrypted, v.Key == "" && v.Provider != string(atrest.Identity):
		return nil, fmt.Errorf("%q: name the key, such as aescbc:key1, kms:vault, kms:vault:kek-1 or identity", text)
	}
	return &Wanted{v}, nil
}

// UnknownKeyError tells that a key is neither in the file nor in etcd.
type UnknownKeyError struct {
	Key  string
	Have []string
}

func (e *UnknownKeyError) Error() string {
	return fmt.Sprintf("there is no key %s, neither in the EncryptionConfiguration nor in etcd", e.Key)
}

// residue is what may hold values under a key that nothing live needs any more, with the step that clears it.
var residue = []string{
	"older revisions in etcd: etcdctl compact",
	"free pages of etcd's file: etcdctl defrag, on each member",
	"etcd's write-ahead log: it is rotated as etcd is written to (svmctl residue counts what is in all three)",
}

func (l *look) judge() error {
	l.report.Doubts = append(append(l.report.Doubts, l.against...), l.doubts...)
	for _, r := range l.rows {
		r.Removable, r.Reason = l.removable(r)
		needing, _ := l.keptAgainst(r)
		r.Snapshots = len(needing)
		if r.Destroyable = r.Removable; r.Removable == Yes {
			r.Destroyable = Unknown
		}
		if len(needing) > 0 {
			r.Destroyable = No
		}
	}
	if l.CanRemove == nil {
		return nil
	}
	answer, err := l.answer(l.CanRemove)
	l.report.CanRemove = answer
	return err
}

// removable is the answer about one row, with what weighs most against it.
func (l *look) removable(r *Row) (Answer, string) {
	switch {
	case r.Total > 0 && r.Write:
		return No, fmt.Sprintf("needed to read %s, and it writes %s", ObjectsText(r.Objects), strings.Join(r.Writes, ", "))
	case r.Total > 0:
		return No, "needed to read " + ObjectsText(r.Objects)
	case r.Write && (r.KeyID != "" || r.Provider != atrest.KMS):
		return No, "it is the key that writes " + strings.Join(r.Writes, ", ")
	case r.Write:
		return No, "it is the provider that writes " + strings.Join(r.Writes, ", ")
	case r.doubtful > 0:
		return Unknown, fmt.Sprintf("%d values may be under it, and were not opened", r.doubtful)
	case len(l.against) > 0:
		return No, l.against[0]
	case len(l.doubts) > 0:
		return Unknown, l.doubts[0]
	case r.Provider == atrest.KMS && r.Version == atrest.V2 && l.Current[r.Key].KeyID == "":
		return Unknown, "which key the KMS plugin encrypts with now is not known: " + l.Current[r.Key].Unknown
	case r.unmet:
		return Unknown, "nothing is under it, and no apiserver has met a key ID of this name since it was started: is it spelled as the plugin spells it?"
	}
	return Yes, "nothing is under it, and every apiserver writes with another key"
}

// ObjectsText lists how many objects of which resources, the most first.
func ObjectsText(objects map[string]int64) string {
	names := slices.SortedFunc(maps.Keys(objects), func(a, b string) int {
		if objects[a] != objects[b] {
			return int(objects[b] - objects[a])
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for i, name := range names {
		if i == 5 {
			parts = append(parts, fmt.Sprintf("and of %d more", len(names)-i))
			break
		}
		parts = append(parts, fmt.Sprintf("%d %s", objects[name], name))
	}
	return strings.Join(parts, ", ")
}

// answer is that about the key that somebody wants to remove: the worst of its rows.
func (l *look) answer(w *Wanted) (*CanRemove, error) {
	a := &CanRemove{Key: w.String(), After: []string{}}
	rank := map[Answer]int{Yes: 1, Unknown: 2, No: 3}
	var have []string
	for _, r := range l.rows {
		have = append(have, r.spec())
		if string(r.Provider) != w.Provider || r.Key != w.Key || w.KeyID != "" && r.KeyID != w.KeyID {
			continue
		}
		if rank[r.Removable] > rank[a.Answer] {
			a.Answer, a.Reason = r.Removable, r.Reason
		}
	}
	if a.Answer == "" {
		return nil, &UnknownKeyError{Key: w.String(), Have: slices.Compact(slices.Sorted(slices.Values(have)))}
	}
	if a.Answer == Yes {
		a.After = append(slices.Clone(residue), l.keptAfter(w)...)
	}
	return a, nil
}

// keptAfter is what has to become of the files that are kept.
func (l *look) keptAfter(w *Wanted) []string {
	if len(l.Kept) == 0 {
		return []string{"snapshots and backups, as long as they are kept (--snapshots DIR tells which need it)"}
	}
	var needing, unknown []string
	for _, r := range l.rows {
		if string(r.Provider) == w.Provider && r.Key == w.Key && (w.KeyID == "" || r.KeyID == w.KeyID) {
			n, u := l.keptAgainst(r)
			needing, unknown = append(needing, n...), append(unknown, u...)
		}
	}
	var after []string
	if len(needing) > 0 {
		slices.Sort(needing)
		after = append(after, "files that cannot be restored without it: "+strings.Join(slices.Compact(needing), ", "))
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		after = append(after, "files of which nobody can say what they need: "+strings.Join(slices.Compact(unknown), ", "))
	}
	return append(after, "snapshots and backups that lie elsewhere")
}
