package decrypt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/apis/apiserver"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	utilfeature "k8s.io/apiserver/pkg/util/feature"

	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
)

// maxFile bounds an EncryptionConfiguration in bytes; the largest have some kilobytes.
const maxFile = 4 << 20

// FileError is an EncryptionConfiguration that an apiserver would refuse, or that cannot be read. It names the place and the
// cause in words that hold nothing of the file but names of fields, keys and resources.
type FileError struct {
	Path  string
	Field string // where in the file; empty for the file itself
	Err   error
}

func (e *FileError) Error() string {
	at := e.Path
	if e.Field != "" {
		at += ": " + e.Field
	}
	return fmt.Sprintf("reading the EncryptionConfiguration %s: %v", at, e.Err)
}

func (e *FileError) Unwrap() error { return e.Err }

// Load reads an EncryptionConfiguration as an apiserver does. KMS plugins are not asked for anything yet. The caller closes the
// Keyring.
func Load(path string) (*Keyring, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, &FileError{Path: path, Err: err}
	}
	parsed, err := parse(data)
	if err != nil {
		var file *FileError
		if errors.As(err, &file) {
			file.Path = path
			return nil, file
		}
		return nil, &FileError{Path: path, Err: err}
	}
	hash := fmt.Sprintf("sha256:%x", sha256.Sum256(data))
	if err := judge(path, hash, parsed); err != nil {
		return nil, &FileError{Path: path, Err: err}
	}
	return assemble(path, hash, parsed)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, errors.Unwrap(err) // the path is named already
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, errors.Unwrap(err)
	case len(data) > maxFile:
		return nil, errors.New("it has more than 4 MiB")
	case len(bytes.TrimSpace(data)) == 0:
		return nil, errors.New("it is empty")
	}
	return data, nil
}

// decoder is the one of the apiserver's loader, which keeps it to itself.
var decoder = func() runtime.Decoder {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{apiserver.AddToScheme, apiserverv1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err) // the types are constant
		}
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder()
}()

// parse decodes and validates. Errors of libraries are reworded, as they may quote whatever stands at the place.
func parse(data []byte) (*apiserver.EncryptionConfiguration, error) {
	object, _, err := decoder.Decode(data, nil, nil)
	if err != nil {
		return nil, decodeError(err)
	}
	config, ok := object.(*apiserver.EncryptionConfiguration)
	if !ok {
		return nil, errKind
	}
	if faults := validation.ValidateEncryptionConfiguration(config, false); len(faults) > 0 {
		return nil, &FileError{Field: faults[0].Field, Err: errors.New(faultText(faults[0]))}
	}
	return config, nil
}

var errKind = errors.New("it is of another kind: apiVersion is to be apiserver.config.k8s.io/v1, and kind EncryptionConfiguration")

// safeDetails are the texts of the validation that quote nothing of the file:
// https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/apis/apiserver/validation/validation_encryption.go
var safeDetails = regexp.MustCompile(`^(more than one provider specified|secret is not of the expected length, got \d+, expected one of \[[\d ]+\]$|secrets must be base64 encoded$|` +
	`at least one [\w\[\].]+ is required$|\w+ is a mandatory field for a \w+$|\w+ should be a positive value|cachesize is not supported in v2$|provider does not contain any|` +
	`use '\*\.' to encrypt|using overlapping resources|resources which do not have REST|resource name should not contain|encrypting the same resource across|the same resource cannot|` +
	`'\*\.events\.k8s\.io' objects|'extensions' group has been removed)`)

// faultText words what the validation found. Neither its BadValue, which may be a provider with its keys, nor what it quotes.
func faultText(e *field.Error) string {
	switch {
	case safeDetails.MatchString(e.Detail):
		return e.Detail
	case strings.HasSuffix(e.Field, ".kms.name"):
		return "the name of a KMS provider is used once, and under v2 has no ':'"
	case strings.HasSuffix(e.Field, ".kms.endpoint"):
		return "the endpoint of a KMS plugin is a URL of the scheme unix"
	case strings.HasSuffix(e.Field, ".kms.apiVersion"):
		return "the apiVersion of a KMS provider is v1 or v2"
	}
	return strings.ToLower(e.Type.String())
}

var (
	lineText  = regexp.MustCompile(`\bline (\d+)`)
	fieldText = regexp.MustCompile(`^(unknown|duplicate) field "((?:[A-Za-z]{1,20}(?:\[\d{1,4}\])?\.?){1,8})"$`)
	typeText  = regexp.MustCompile(`cannot unmarshal (\w{1,12}) into Go struct field \w{1,40}\.((?:[A-Za-z]{1,20}\.?){1,8}) of type`)
)

func decodeError(err error) error {
	if strict, ok := runtime.AsStrictDecodingError(err); ok {
		for _, e := range strict.Errors() {
			if m := fieldText.FindStringSubmatch(e.Error()); m != nil {
				return &FileError{Field: m[2], Err: fmt.Errorf("%s field", m[1])}
			}
			if m := lineText.FindStringSubmatch(e.Error()); m != nil {
				return fmt.Errorf("line %s has a field that is unknown or stands twice", m[1])
			}
		}
		return errors.New("it has a field that is unknown or stands twice")
	}
	if runtime.IsNotRegisteredError(err) || runtime.IsMissingKind(err) || runtime.IsMissingVersion(err) {
		return errKind
	}
	if m := typeText.FindStringSubmatch(err.Error()); m != nil {
		return &FileError{Field: m[2], Err: fmt.Errorf("it cannot be understood: a %s does not belong there", m[1])}
	}
	if m := lineText.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("line %s cannot be understood", m[1])
	}
	return errors.New("it cannot be understood: it is neither YAML nor JSON, or a field has a value of another type")
}

var errChanged = errors.New("it was changed while it was read, or is no file that can be read twice")

// judge has the apiserver's own loader read the file. With a context that has ended it asks no KMS plugin.
func judge(path, hash string, parsed *apiserver.EncryptionConfiguration) error {
	for _, r := range parsed.Resources {
		for _, p := range r.Providers {
			if p.KMS != nil && p.KMS.APIVersion == atrest.V1 {
				// It is off by default, and an apiserver may have it on.
				if err := utilfeature.DefaultMutableFeatureGate.Set("KMSv1=true"); err != nil {
					return errors.New("the apiserver's library does not know KMS v1 any more")
				}
			}
		}
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	loaded, err := encryptionconfig.LoadEncryptionConfig(ended, path, false, "svmctl")
	switch {
	case err == nil && loaded.EncryptionFileContentHash != hash:
		return errChanged
	case err == nil:
		return nil
	}
	// The text speaks of what the loader has read, which may be another file by now.
	if again, hashErr := encryptionconfig.GetEncryptionConfigHash(path); hashErr != nil || again != hash {
		return errChanged
	}
	return errors.New(withoutSecrets(err.Error(), parsed))
}

// withoutSecrets keeps a text of the loader that holds none of the secrets, as when one rule masks another.
func withoutSecrets(text string, parsed *apiserver.EncryptionConfiguration) string {
	text, building := strings.CutPrefix(text, "error while building transformers: ")
	if !building { // the decoder and the validation quote what stands at the place
		return refused
	}
	for _, r := range parsed.Resources {
		for _, p := range r.Providers {
			for _, k := range keysOf(p) {
				if strings.Contains(text, k.Secret) {
					return refused
				}
			}
		}
	}
	return text
}

const refused = "the apiserver's loader refuses it"

func keysOf(p apiserver.ProviderConfiguration) []apiserver.Key {
	switch {
	case p.AESCBC != nil:
		return p.AESCBC.Keys
	case p.AESGCM != nil:
		return p.AESGCM.Keys
	case p.Secretbox != nil:
		return p.Secretbox.Keys
	}
	return nil
}

func providerOf(p apiserver.ProviderConfiguration) atrest.Provider {
	switch {
	case p.AESCBC != nil:
		return atrest.AESCBC
	case p.AESGCM != nil:
		return atrest.AESGCM
	case p.Secretbox != nil:
		return atrest.Secretbox
	case p.KMS != nil:
		return atrest.KMS
	}
	return atrest.Identity
}

// assemble makes the Keyring of what was read.
func assemble(path, hash string, parsed *apiserver.EncryptionConfiguration) (*Keyring, error) {
	ctx, cancel := context.WithCancel(context.Background())
	r := &Keyring{config: &encryption.Configuration{Path: path, Hash: hash}, plugins: make(map[atrest.Encryption]*plugin), close: cancel}
	a := assembly{Keyring: r, secrets: make(map[string]int)}
	for _, entry := range parsed.Resources {
		var rule encryption.Rule
		for _, text := range entry.Resources {
			gr := schema.ParseGroupResource(text)
			rule.Patterns = append(rule.Patterns, encryption.Pattern{Group: gr.Group, Resource: gr.Resource})
		}
		for _, p := range entry.Providers {
			keys, err := a.provider(ctx, p)
			if err != nil {
				cancel()
				return nil, &FileError{Path: path, Err: err}
			}
			rule.Keys = append(rule.Keys, keys...)
		}
		r.config.Rules = append(r.config.Rules, rule)
	}
	r.names = r.config.Names()
	return r, nil
}

// assembly is a Keyring in the making.
type assembly struct {
	*Keyring
	secrets map[string]int // material and name of a key → its place
}

// provider adds the keys of a provider that are new, and returns the places of all of them.
func (a *assembly) provider(ctx context.Context, p apiserver.ProviderConfiguration) ([]int, error) {
	k := encryption.Key{Provider: providerOf(p)}
	switch k.Provider {
	case atrest.Identity:
		if i := a.identity(); i >= 0 {
			return []int{i}, nil
		}
		return []int{a.add(encryption.Identity, nil)}, nil
	case atrest.KMS:
		k.Version, k.Name, k.Endpoint = p.KMS.APIVersion, p.KMS.Name, p.KMS.Endpoint
		i, err := a.plugin(ctx, k, p.KMS)
		return []int{i}, err
	}
	k.Version = atrest.V1
	var places []int
	for _, named := range keysOf(p) {
		k.Name = named.Name
		id := string(k.Provider) + ":" + named.Name + "\x00" + named.Secret
		if i, again := a.secrets[id]; again {
			places = append(places, i)
			continue
		}
		opens, err := newLocal(k.Provider, named.Secret)
		if err != nil {
			return nil, fmt.Errorf("key %q of %s: %w", named.Name, k.Provider, err)
		}
		k.Twin = 0
		for _, other := range a.config.Keys {
			if other.Claims(k.AtRest()) {
				k.Twin++
			}
		}
		a.secrets[id] = a.add(k, opens)
		places = append(places, a.secrets[id])
	}
	return places, nil
}

func (a *assembly) plugin(ctx context.Context, k encryption.Key, p *apiserver.KMSConfiguration) (int, error) {
	if k.Version == atrest.V2 {
		opens, err := newKMSv2(ctx, k, p.Timeout.Duration)
		if err != nil {
			return 0, fmt.Errorf("KMS provider %q: %w", k.Name, err)
		}
		a.plugins[k.AtRest()] = opens.plugin
		return a.add(k, opens), nil
	}
	opens, err := newKMSv1(ctx, k, p.Timeout.Duration)
	if err != nil {
		return 0, fmt.Errorf("KMS provider %q: %w", k.Name, err)
	}
	a.plugins[k.AtRest()] = opens.plugin
	return a.add(k, opens), nil
}

// add appends a key and what it opens, nil for identity.
func (a *assembly) add(k encryption.Key, opens cipher) int {
	i := len(a.config.Keys)
	a.config.Keys = append(a.config.Keys, k)
	var l *lock
	if opens != nil {
		l = &lock{index: i, key: k, prefix: k.AtRest().Prefix(), cipher: opens}
	}
	a.locks = append(a.locks, l)
	return i
}
