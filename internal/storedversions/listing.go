package storedversions

import (
	"context"
	"errors"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/verify"
)

// listing is what was asked for.
type listing struct {
	all     []*crd.Definition // that the apiserver has, without their schemas
	found   []*crd.Definition // those of the names, or all
	strange []verify.Resource // named, and no definition declares them: objects of theirs may remain in etcd
}

// list finds what was asked for. A name that cannot be that of a custom resource, and is no definition's, is an UnknownError.
func list(ctx context.Context, req Request) (listing, error) {
	var l listing
	for d, err := range req.Definitions.All(ctx) {
		if err != nil {
			return listing{}, err
		}
		l.all = append(l.all, d.WithoutSchema())
	}
	if len(req.Names) == 0 {
		l.found = l.all
		return l, nil
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(req.Names))) {
		if i := slices.IndexFunc(l.all, func(d *crd.Definition) bool { return d.Name == name }); i >= 0 {
			l.found = append(l.found, l.all[i])
			continue
		}
		plural, group, _ := strings.Cut(name, ".")
		if group == "" || key.Builtin(group, plural) || len(validation.IsDNS1123Subdomain(name)) > 0 {
			return listing{}, l.unknown(name)
		}
		l.strange = append(l.strange, verify.Resource{Group: group, Name: plural})
	}
	return l, nil
}

func (l listing) unknown(name string) error {
	e := &UnknownError{Name: name}
	head, group, _ := strings.Cut(name, ".")
	for _, d := range l.all {
		near := strings.HasPrefix(d.Name, name) || strings.HasPrefix(name, d.Plural) || strings.EqualFold(d.Kind, head) ||
			d.Group == group && strings.HasPrefix(d.Plural, strings.ToLower(head))
		if near && len(e.Near) < 5 {
			e.Near = append(e.Near, d.Name)
		}
	}
	return e
}

// home finds the storage root of this apiserver by any of its definitions. It is empty when there is none.
func (l listing) home(ctx context.Context, req Request) ([]string, error) {
	for _, d := range l.all {
		root, _, err := Locate(ctx, req.Store, req.roots, d)
		switch {
		case err == nil:
			return []string{root}, nil
		case !errors.Is(err, ErrForeignEtcd):
			return nil, err
		}
	}
	if len(l.all) > 0 {
		return nil, ErrForeignEtcd
	}
	return nil, nil
}
