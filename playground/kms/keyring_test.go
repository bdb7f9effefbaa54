package kms

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeyFileIsForItsOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	for _, firstID := range []string{"one", "two"} {
		keys, err := OpenKeyring(path, firstID)
		if err != nil {
			t.Fatal(err)
		}
		if current, all := keys.IDs(); current != "one" || len(all) != 1 {
			t.Errorf("opened with %q: keys are %q, %q", firstID, current, all)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file is %v, %v", info, err)
	}
}

func TestDamagedKeyFilesAreRefused(t *testing.T) {
	secret := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", secretSize)))
	for name, content := range map[string]string{
		"empty":          ``,
		"no JSON":        secret,
		"no keys":        `{}`,
		"no current key": fmt.Sprintf(`{"current":"kek-2","keys":[{"id":"kek-1","secret":%q}]}`, secret),
		"dropped":        `{"current":"kek-1","keys":[{"id":"kek-1"}]}`,
		"short key":      fmt.Sprintf(`{"current":"kek-1","keys":[{"id":"kek-1","secret":%q}]}`, secret[:16]),
		"no base64":      fmt.Sprintf(`{"current":"kek-1","keys":[{"id":"kek-1","secret":"*%s"}]}`, secret),
	} {
		path := filepath.Join(t.TempDir(), "keys")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenKeyring(path, "")
		if err == nil || !strings.Contains(err.Error(), "parsing "+path) || strings.Contains(err.Error(), secret[:8]) {
			t.Errorf("%s: error is %v", name, err)
		}
		if data, err := os.ReadFile(path); err != nil || string(data) != content {
			t.Errorf("%s: the file was changed: %v", name, err)
		}
	}
}
