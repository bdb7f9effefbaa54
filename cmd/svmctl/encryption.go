package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/pflag"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/decrypt"
	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/expect"
)

const (
	openAll    = "all"
	openSample = "sample"
	openNone   = "none"
)

// encryptionFlags name the EncryptionConfiguration, and which values are opened with it.
type encryptionFlags struct {
	file, open string
	roots      []string // storage roots of the apiserver that has the file; none: all
	set        *pflag.FlagSet
}

func addEncryptionFlags(fs *pflag.FlagSet) *encryptionFlags {
	f := &encryptionFlags{set: fs}
	fs.StringVar(&f.file, "encryption-provider-config", "", "EncryptionConfiguration `file` of the apiserver: values are opened, and each resource is expected under the key that the file writes it with")
	fs.StringVar(&f.open, "open", openAll, fmt.Sprintf("which values to open: all, sample or none; unless all is asked for, each KMS plugin is asked for %d data keys at most", decrypt.UnaskedCalls))
	return f
}

// addEncryptionFile names the file to a command that opens nothing.
func addEncryptionFile(fs *pflag.FlagSet) *encryptionFlags {
	f := &encryptionFlags{set: fs, open: openNone}
	fs.StringVar(&f.file, "encryption-provider-config", "", "EncryptionConfiguration `file` of the apiserver: it tells the names of keys, and what is to be encrypted")
	return f
}

// read reads the file, if there is one, and asks nobody.
func (f *encryptionFlags) read() (*encryption.Configuration, *audit.Encryption, error) {
	if f.file == "" {
		return nil, nil, nil
	}
	keyring, err := decrypt.Load(f.file)
	if err != nil {
		return nil, nil, err
	}
	u := &unlocked{keyring: keyring, open: openNone}
	defer u.close()
	return u.config(), u.named(), nil
}

// unlocked is an EncryptionConfiguration at work. Without a file it opens nothing and expects nothing.
type unlocked struct {
	keyring *decrypt.Keyring
	open    string
	roots   []string
	current map[string]expect.CurrentKey // of the KMS v2 plugins
}

// load reads the file, if there is one, and asks the KMS v2 plugins for their keys.
func (f *encryptionFlags) load(ctx context.Context) (*unlocked, error) {
	switch f.open {
	case openAll, openSample, openNone:
	default:
		return nil, usageError(fmt.Errorf("--open is all, sample or none, not %q", f.open))
	}
	if f.file == "" {
		return &unlocked{open: openNone}, nil
	}
	keyring, err := decrypt.Load(f.file)
	if err != nil {
		return nil, err
	}
	if f.open != openAll || !f.set.Changed("open") {
		keyring.Limit(decrypt.UnaskedCalls)
	}
	u := &unlocked{keyring: keyring, open: f.open, roots: f.roots, current: make(map[string]expect.CurrentKey)}
	for name, state := range keyring.Current(ctx) {
		if state.Err != nil {
			u.current[name] = expect.CurrentKey{Unknown: state.Err.Error()}
		} else {
			u.current[name] = expect.CurrentKey{KeyID: state.KeyID}
		}
	}
	return u, nil
}

func (u *unlocked) close() {
	if u.keyring != nil {
		u.keyring.Close()
	}
}

// config is the file without its key material; nil if there is none.
func (u *unlocked) config() *encryption.Configuration {
	if u.keyring == nil {
		return nil
	}
	return u.keyring.Configuration()
}

// opener opens values; nil if there is no file.
func (u *unlocked) opener() etcdscan.Opener {
	switch {
	case u.keyring == nil:
		return nil
	case u.open == openNone:
		return u.keyring.Closed()
	}
	return u.keyring
}

func (u *unlocked) sample() bool { return u.open == openSample }

// named is the file as reports have it; nil if there is none.
func (u *unlocked) named() *audit.Encryption {
	if u.keyring == nil {
		return nil
	}
	return &audit.Encryption{Path: u.config().Path, Hash: u.config().Hash, Open: u.open}
}

// expected adds to what is expected what the file writes.
func (u *unlocked) expected(es verify.Expectations) verify.Expectations {
	if u.keyring == nil {
		return es
	}
	return es.WithConfigured(expect.Configured(u.config(), u.current, u.roots))
}

// announce says how often KMS plugins are going to be asked, of a sample how often at most.
func (p *program) announce(u *unlocked) func(calls map[string]int64) {
	most := ""
	if u.sample() {
		most = " at most"
	}
	return func(calls map[string]int64) {
		for _, name := range slices.Sorted(maps.Keys(calls)) {
			if calls[name] > 0 {
				fmt.Fprintf(p.err, "svmctl: opening the values asks the KMS plugin %s for %s%s\n", render.Inert(name), render.Count(calls[name], "data key"), most)
			}
		}
	}
}

func (u *unlocked) plugins() []encryption.Key {
	if u.keyring == nil {
		return nil
	}
	return u.keyring.Plugins()
}

// Next safe steps when a KMS plugin does not answer, or does not decrypt.
const (
	silentHint  = "the plugin listens on a socket of the control-plane node: run svmctl there, as a user who may use the socket, and see whether the plugin runs"
	refusedHint = "the plugin runs: its log tells why it does not decrypt. Is the key encryption key disabled or destroyed, or another plugin at this socket?"
	closedHint  = "--open none leaves the values closed"
	keyIDHint   = "where the key ID is known otherwise, --expect RESOURCE=kms:NAME:KEYID names it"
)

// withSilentPlugin adds to the exit status of a report the first KMS plugin that left something of it open: values, or the key ID
// that the report needed.
func (u *unlocked) withSilentPlugin(exit error, silent []audit.Silent, needed func(provider string) bool) error {
	for _, k := range u.plugins() {
		why, hints := "", []string(nil)
		if unknown := u.current[k.Name].Unknown; unknown != "" && needed(k.Name) {
			why, hints = unknown, []string{silentHint, keyIDHint}
		}
		for _, s := range silent {
			if s.Provider != k.Name {
				continue
			}
			why, hints = string(s.Obstacle), []string{silentHint, closedHint}
			if s.Obstacle == etcdscan.PluginRefused {
				hints = []string{refusedHint, closedHint}
			}
		}
		if why == "" {
			continue
		}
		code := exitIndeterminate
		if known, ok := exit.(*exitError); ok {
			code = known.code
		}
		return &exitError{code: code, err: fmt.Errorf("KMS provider %s at %s: %s", k.Name, k.Endpoint, why), hints: hints}
	}
	return exit
}
