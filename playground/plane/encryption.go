package plane

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ResolveEncryption makes the paths of the EncryptionConfigurations absolute and wants a file at
// each: the apiservers run in the directory of whoever called `up`, which may be another one
// next time.
func (s *Spec) ResolveEncryption() error {
	var err error
	if s.EncryptionProviderConfig, err = resolve(s.EncryptionProviderConfig); err != nil {
		return err
	}
	for name, path := range s.EncryptionProviderConfigOf {
		if s.EncryptionProviderConfigOf[name], err = resolve(path); err != nil {
			return err
		}
	}
	return nil
}

// resolve leaves the empty path, which is no EncryptionConfiguration, as it is.
func resolve(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("resolving %s: %w", path, err)
	}
	if _, err := os.Stat(absolute); err != nil {
		return "", fmt.Errorf("reading the EncryptionConfiguration: %w", err)
	}
	return absolute, nil
}

// filesByName is the flag value of --encryption-provider-config-of.
type filesByName struct {
	files *map[string]string
}

func (f *filesByName) Set(value string) error {
	if value == "" { // forgets those of an earlier `up`
		return nil
	}
	name, path, found := strings.Cut(value, "=")
	if !found {
		return fmt.Errorf("%q: want NAME=FILE", value)
	}
	if *f.files == nil {
		*f.files = map[string]string{}
	}
	(*f.files)[name] = path
	return nil
}

func (f *filesByName) String() string { return "" }

func (f *filesByName) Type() string { return "name=file" }
