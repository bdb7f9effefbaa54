package storedversions

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
)

// Definitions tells of CustomResourceDefinitions, as an apiserver shows them or as a file has them. An unknown name is
// crd.ErrNotFound.
type Definitions interface {
	All(ctx context.Context) iter.Seq2[*crd.Definition, error]
	Get(ctx context.Context, name string) (*crd.Definition, error)
}

// KeptDefinitions are those in a file, which no apiserver needs to show. Opener may be nil.
func KeptDefinitions(file Store, opener etcdscan.Opener) Definitions { return kept{file, opener} }

type kept struct {
	file   Store
	opener etcdscan.Opener
}

const definitionsGroup, definitionsResource = "apiextensions.k8s.io", "customresourcedefinitions"

func (k kept) All(ctx context.Context) iter.Seq2[*crd.Definition, error] {
	return func(yield func(*crd.Definition, error) bool) {
		keys, err := k.keys(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, name := range keys {
			d, err := k.read(ctx, name)
			if !yield(d, err) || err != nil {
				return
			}
		}
	}
}

// keys are those of all definitions, under every storage root.
func (k kept) keys(ctx context.Context) (keys []string, err error) {
	roots, err := findRoots(ctx, k.file)
	if err != nil {
		return nil, err
	}
	for _, root := range roots {
		dir := etcdscan.Prefix(root + "/" + key.DirIn(root, definitionsGroup, definitionsResource))
		for batch, err := range k.file.Read(ctx, dir, 0) {
			if err != nil {
				return nil, fmt.Errorf("listing CustomResourceDefinitions: %w", err)
			}
			for _, kv := range batch {
				keys = append(keys, kv.Key)
			}
		}
	}
	return keys, nil
}

func (k kept) read(ctx context.Context, name string) (*crd.Definition, error) {
	payload, revision, found, err := etcdscan.Payload(k.file, k.opener)(ctx, name)
	if err == nil && !found {
		err = crd.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	defer clear(payload)
	d, err := crd.Decode(payload, revision)
	if err != nil {
		return nil, fmt.Errorf("reading %s at revision %d: %w", name, revision, err)
	}
	return d, nil
}

func (k kept) Get(ctx context.Context, name string) (*crd.Definition, error) {
	keys, err := k.keys(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(keys, func(key string) bool { return len(key) > len(name) && key[len(key)-len(name)-1:] == "/"+name })
	if i < 0 {
		return nil, fmt.Errorf("reading CustomResourceDefinition %q: %w", name, crd.ErrNotFound)
	}
	return k.read(ctx, keys[i])
}
