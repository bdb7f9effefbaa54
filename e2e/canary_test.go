package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// The canaries are planted in every secret that a test makes. They are letters and digits alone, so that no quoting
// hides them.
const (
	canaryInData       = "CanaryInDataQ7vX2mK9"
	canaryInAnnotation = "CanaryInAnnotationZ4tR8wB1"
)

// record is all that svmctl printed on one plane. It may be added to from several goroutines.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) add(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text.WriteString(text)
	r.text.WriteByte('\n')
}

func (r *record) bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.text.Bytes())
}

// searchForCanaries looks in all that svmctl printed and in every file that it left behind for stored values and for
// key material.
func (p *plane) searchForCanaries(t *testing.T) {
	t.Helper()
	if form := leaked(p.record.bytes()); form != "" {
		t.Errorf("svmctl printed %s", form)
	}
	err := filepath.WalkDir(p.home, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if form := leaked(data); form != "" {
			t.Errorf("%s, which svmctl wrote, holds %s", path, form)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// leaked names the first secret string found in text, empty for none.
func leaked(text []byte) string {
	for _, secret := range append([]string{canaryInData, canaryInAnnotation}, keyMaterials()...) {
		for _, form := range forms(secret) {
			if bytes.Contains(text, []byte(form)) {
				return form
			}
		}
	}
	return ""
}

// forms are the ways in which a string can turn up: as it is, in hexadecimal, and in base64 at each of the three
// offsets that it can have in a longer value, less the characters that its neighbours have a part in.
func forms(secret string) []string {
	all := []string{secret, hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret)))}
	for offset := range 3 {
		padded := strings.Repeat("\x00", offset) + secret
		whole := len(padded) / 3 * 3
		for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			text := encoding.EncodeToString([]byte(padded[:whole]))
			if offset > 0 {
				text = text[4:]
			}
			all = append(all, text)
		}
	}
	return all
}

func TestCanariesAreFoundInEveryForm(t *testing.T) {
	for _, secret := range []string{canaryInData, canaryInAnnotation, keyMaterial("key1")} {
		for _, around := range []string{"", "a", "ab", "abc"} {
			value := []byte(around + secret + around)
			for form, text := range map[string]string{
				"raw": string(value), "base64": base64.StdEncoding.EncodeToString(value), "hex": hex.EncodeToString(value),
			} {
				if leaked([]byte("some "+text+" more")) == "" {
					t.Errorf("%s of %q is not found", form, value)
				}
			}
		}
	}
	if form := leaked([]byte("secrets default/my-secret is under aescbc:key1")); form != "" {
		t.Errorf("found %q where there is none", form)
	}
}
