package gate

import (
	"context"
	"errors"

	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/storedversions"
)

// maxWitnesses bounds how many definitions that are not in the files are looked for in etcd. One is enough, unless it is deleted
// meanwhile.
const maxWitnesses = 3

// findHome finds the storage root in which the apiserver has its definitions: an etcd that holds one at the revision that the
// apiserver shows is its own. A definition of the files may be new: then any other one will do, and none at all where there is
// none. ErrForeignEtcd means that the apiserver has definitions, and this etcd holds none of them.
func (c *check) findHome(ctx context.Context, roots []string) error {
	tried := 0
	var foreign error
	witness := func(d *crd.Definition) (done bool, err error) {
		tried++
		root, _, err := storedversions.Locate(ctx, c.Store, roots, d)
		switch {
		case err == nil:
			c.home = []string{root}
			return true, nil
		case errors.Is(err, storedversions.ErrForeignEtcd):
			foreign = err
			return false, nil
		case errors.Is(err, etcdscan.ErrPermission):
			c.stranger = "etcd does not let this user read CustomResourceDefinitions"
			return true, nil
		}
		return false, err
	}
	for _, s := range c.subjects {
		if s.present == nil {
			continue
		}
		if done, err := witness(s.present); done || err != nil {
			return err
		}
	}
	if tried > 0 {
		return foreign
	}
	for d, err := range c.Definitions.All(ctx) {
		var refused *crd.RefusedError
		if errors.As(err, &refused) {
			c.stranger = "the cluster's definitions could not be listed: " + refused.Error()
			return nil
		}
		if err != nil {
			return err
		}
		if done, err := witness(d); done || err != nil {
			return err
		}
		if tried == maxWitnesses {
			break
		}
	}
	switch {
	case foreign != nil:
		return foreign
	case c.NoneDefined != nil && c.NoneDefined(ctx):
		c.home = roots
	default:
		c.stranger = "the apiserver has no CustomResourceDefinition by which to know it"
	}
	return nil
}
