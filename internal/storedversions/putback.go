package storedversions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/svmctl/svmctl/internal/crd"
)

const (
	// patience bounds how long it is tried to undo a write, or to learn what became of it, interrupted or not.
	patience = 2 * time.Minute
	// tries bounds how often a request without an answer is sent again. The waits between them add up to 13 s.
	tries     = 8
	firstWait = 100 * time.Millisecond
	// races bounds how often a write is tried that others are ahead of.
	races = 20
)

// putBack writes versions into storedVersions of d again, beside whatever is there by now. An interruption does not keep it
// from that.
func (r *Report) putBack(ctx context.Context, req PruneRequest, row Row, d *crd.Definition, versions []string) Row {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	r.wrote = true
	now, err := putBack(ctx, req.Client, d.Name, d.UID, versions)
	var lacking []string
	for _, v := range versions {
		if now != nil && slices.Contains(now.StoredVersions, v) {
			row.PutBack = append(row.PutBack, v)
		} else {
			lacking = append(lacking, v)
		}
	}
	if now != nil {
		row.StoredVersions = orEmpty(now.StoredVersions)
	}
	if len(lacking) > 0 {
		if err == nil {
			err = errors.New("it was written, and is not there")
		}
		r.warnByHand(row, lacking, err)
		row.State, row.Reason = Blocked, row.Reason+"; "+strings.Join(lacking, ", ")+" could not be put back into storedVersions"
	}
	return row
}

func (r *Report) warnByHand(row Row, versions []string, err error) {
	r.Warnings = append(r.Warnings, fmt.Sprintf("%s: %s could not be put back into storedVersions: %v; look whether it is there, and put it back by hand",
		row.Name, strings.Join(versions, ", "), err))
}

// PutBack makes storedVersions name versions that etcd was seen to hold, and gives the definition as it is then. Versions that
// are there already are left as they are. One that spec.versions no longer has cannot be put back: the others are, and there is
// an error beside the definition.
func PutBack(ctx context.Context, client *crd.Client, name string, versions []string) (*crd.Definition, error) {
	return putBack(ctx, client, name, "", versions)
}

// putBack does so only in the definition with the UID, unless that is empty.
func putBack(ctx context.Context, client *crd.Client, name, uid string, versions []string) (*crd.Definition, error) {
	var gone []string
	d, err := persist(ctx, client, name, func(d *crd.Definition) (want []string, err error) {
		if uid != "" && d.UID != uid {
			return nil, fmt.Errorf("the CustomResourceDefinition of that name is another one: %w", crd.ErrNotFound)
		}
		if want, gone = with(d, versions); len(want) == len(d.StoredVersions) {
			return nil, nil
		}
		return want, nil
	})
	if err == nil && len(gone) > 0 {
		err = fmt.Errorf("spec.versions of CustomResourceDefinition %s no longer has %s", name, strings.Join(gone, ", "))
	}
	return d, err
}

// with is storedVersions of d with versions besides, and the storage version with them. Gone are those that spec.versions lacks.
func with(d *crd.Definition, versions []string) (want, gone []string) {
	want = slices.Clone(d.StoredVersions)
	for _, v := range versions {
		if slices.Contains(want, v) {
			continue
		}
		if _, known := d.Version(v); known {
			want = append(want, v)
		} else {
			gone = append(gone, v)
		}
	}
	if storage := d.Storage(); len(want) > len(d.StoredVersions) && storage != "" && !slices.Contains(want, storage) {
		want = append(want, storage)
	}
	return want, gone
}

// fence makes sure that no write to d is done any more whose precondition is d's resourceVersion, by moving that on unless it
// has moved: the order of storedVersions means nothing, so it is turned round. It gives the definition as it is then.
func fence(ctx context.Context, client *crd.Client, d *crd.Definition) (*crd.Definition, error) {
	return persist(ctx, client, d.Name, func(now *crd.Definition) ([]string, error) {
		if now.UID != d.UID || now.ResourceVersion != d.ResourceVersion {
			return nil, nil
		}
		turned := slices.Clone(now.StoredVersions)
		slices.Reverse(turned)
		return turned, nil
	})
}

// persist reads a definition and writes the storedVersions that change wants, until change wants none. It holds out against
// conflicts and lost answers, and gives up where the apiserver declines.
func persist(ctx context.Context, client *crd.Client, name string, change func(*crd.Definition) (want []string, err error)) (*crd.Definition, error) {
	lost, wait := 0, firstWait
	for race := 1; ; race++ {
		d, err := client.Get(ctx, name)
		if err == nil {
			var want []string
			switch want, err = change(d); {
			case err != nil:
				return nil, err
			case want == nil:
				return d.WithoutSchema(), nil
			}
			if _, err = client.SetStoredVersions(ctx, d, want); err == nil && race < races {
				continue // until it is seen to be there
			}
			if errors.Is(err, crd.ErrConflict) && race < races {
				continue
			}
			if err == nil {
				err = errors.New("it is written, and does not stay")
			}
		}
		if lost++; declined(err) || race >= races || lost == tries || !pause(ctx, wait) {
			return nil, err
		}
		wait *= 2
	}
}
