package crd

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Problem tells why an apiserver cannot read a stored object, or not as one of its definition.
type Problem string

const (
	UnknownVersion Problem = "UnknownVersion" // its version is not in spec.versions
	OtherGroup     Problem = "OtherGroup"     // its apiVersion is of another group than the definition
	OtherKind      Problem = "OtherKind"      // it has another kind: read as it is, without pruning, and no longer of that kind once it is patched
	Malformed      Problem = "Malformed"      // metadata, its own or that of an embedded resource, is no object metadata
)

// Examination is what a rewrite would do to one stored object. The zero value says nothing about it: without Readable the paths
// tell nothing.
type Examination struct {
	Readable        bool     // an apiserver can read the object, and everything below was found out
	Problem         Problem  // why not
	Version         string   // the version that it is stored at, "" if its apiVersion is not of the definition's group
	Paths           []string // fields that would be lost, sorted, at most 32; never a value, but keys of maps
	Omitted         int      // paths that are not in Paths
	Converted       bool     // a webhook converts it on the way; what that drops cannot be seen here
	Terminating     bool     // metadata.deletionTimestamp is set
	ManagedVersions []string // apiVersions in metadata.managedFields whose version the definition does not have, sorted

	lost losses
}

// Beyond are the paths of e that other does not lose as well: with the examination of the same object by another definition, what
// this one would lose and that one would not. As Paths they are sorted and at most 32; omitted counts the others. What other
// says is of no account unless it was Readable.
func (e Examination) Beyond(other Examination) (paths []string, omitted int) {
	if !other.Readable {
		return e.Paths, e.Omitted
	}
	return e.lost.beyond(other.lost).sorted()
}

// Pruner tells what an apiserver would drop of stored objects while it rewrites them. It is safe for concurrent use.
type Pruner struct {
	d       *Definition
	kind    string
	through string
	schemas map[string]*structuralschema.Structural
	embeds  map[string]bool // versions whose schema has an embedded resource
}

// NewPruner prepares the schemas of a definition. They are those of an apiserver that has it; it has to be established for that.
//
// A rewrite decodes an object by the schema of the version that it is stored at, converts it to the version that the patch is sent
// to (see Through), and that to the storage version, and every version on the way prunes by its own schema:
// https://github.com/kubernetes/apiextensions-apiserver/blob/v0.37.2/pkg/apiserver/customresource_handler.go (crdConversionRESTOptionsGetter).
// Conversion without a webhook changes apiVersion alone, so all of that happens here. Where a webhook converts, only the schemas
// before it are applied. Pruning by admission, by the webhook or by whoever else changes the object on the way is not visible here.
func NewPruner(d *Definition) (*Pruner, error) {
	if d.object == nil {
		return nil, fmt.Errorf("preparing the schemas of %s: they were dropped", d.Name)
	}
	p := &Pruner{
		d: d, kind: d.Kind, through: d.Through(),
		schemas: make(map[string]*structuralschema.Structural, len(d.Versions)),
		embeds:  make(map[string]bool, len(d.Versions)),
	}
	if accepted := d.object.Status.AcceptedNames.Kind; accepted != "" {
		p.kind = accepted
	}
	if p.through == "" {
		p.through = d.Storage()
	}
	for _, v := range d.object.Spec.Versions {
		if v.Schema == nil {
			continue // which prunes all, unless unknown fields are preserved
		}
		var internal apiextensions.CustomResourceValidation
		if err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(v.Schema, &internal, nil); err != nil {
			return nil, fmt.Errorf("preparing the schema of %s, version %s: %w", d.Name, v.Name, err)
		}
		s, err := structuralschema.NewStructural(internal.OpenAPIV3Schema)
		if err != nil {
			if d.PreserveUnknownFields {
				continue // as the apiserver has it
			}
			return nil, fmt.Errorf("preparing the schema of %s, version %s: %w", d.Name, v.Name, err)
		}
		p.schemas[v.Name], p.embeds[v.Name] = s, embeds(s)
	}
	return p, nil
}

// Examine looks at one payload as it lies in etcd, opened: JSON or CBOR. An error means that it is no object at all.
func (p *Pruner) Examine(payload []byte) (Examination, error) {
	var object map[string]any
	if err := unmarshal(payload, &object); err != nil {
		return Examination{}, err
	}
	apiVersion, _ := object["apiVersion"].(string)
	kind, _ := object["kind"].(string)
	if apiVersion == "" || kind == "" {
		return Examination{}, ErrType
	}
	var e Examination
	var managed []string
	e.Terminating, managed = look(object)
	for _, m := range managed {
		if version, ours := strings.CutPrefix(m, p.d.Group+"/"); ours {
			if _, known := p.d.Version(version); !known {
				e.ManagedVersions = append(e.ManagedVersions, m)
			}
		}
	}
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil || gv.Group != p.d.Group {
		e.Problem = OtherGroup
		return e, nil
	}
	if !wellFormed(apiVersion) {
		e.Problem = UnknownVersion
		return e, nil
	}
	e.Version = gv.Version
	switch _, known := p.d.Version(gv.Version); {
	case !known:
		e.Problem = UnknownVersion
		return e, nil
	case kind != p.kind:
		e.Problem = OtherKind
		return e, nil
	}
	if err := p.rewrite(object, &e); err != nil {
		e.Problem, e.Converted, e.lost = Malformed, false, losses{}
		return e, nil
	}
	e.Readable = true
	e.Paths, e.Omitted = e.lost.sorted()
	return e, nil
}

// rewrite sends an object through the versions that a patch would bring it through.
func (p *Pruner) rewrite(object map[string]any, e *Examination) error {
	if err := p.coerce(object, e.Version, true, &e.lost); err != nil {
		return err
	}
	at := e.Version
	for i, next := range []string{p.through, p.d.Storage()} {
		if next == at {
			// The way from etcd ends in a conversion, even to the same version, and that forgives less.
			if i == 0 && p.embeds[at] {
				if err := p.coerce(object, at, false, &e.lost); err != nil {
					return err
				}
			}
			continue
		}
		if p.d.Conversion.Webhook() {
			e.Converted = true
			return nil
		}
		if err := p.coerce(object, next, false, &e.lost); err != nil {
			return err
		}
		at = next
	}
	return nil
}

var errMalformed = errors.New("malformed metadata")

// coerce is the apiserver's unstructuredSchemaCoercer.apply for one version. dropInvalid is how it reads from etcd: metadata
// that is malformed is dropped rather than refused.
func (p *Pruner) coerce(object map[string]any, version string, dropInvalid bool, lost *losses) error {
	meta, found, err := objectmeta.GetObjectMeta(object, dropInvalid)
	if err != nil {
		return errMalformed
	}
	before := object["metadata"]
	s := p.schemas[version]
	if !p.d.PreserveUnknownFields {
		whole := runtime.DeepCopyJSON(object)
		if len(pruning.PruneWithOptions(object, s, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})) > 0 {
			lost.compare(whole, object, exactly)
		}
		// A null that its schema does not admit says no more than its absence does.
		defaulting.PruneNonNullableNullsWithoutDefaults(object, s)
	}
	if p.embeds[version] {
		whole := runtime.DeepCopyJSON(object)
		if err := objectmeta.Coerce(nil, object, s, false, dropInvalid); err != nil {
			return errMalformed
		}
		lost.compare(whole, object, besidesEmpty)
	}
	if found {
		if err := objectmeta.SetObjectMeta(object, meta); err != nil {
			return errMalformed
		}
		lost.compare(map[string]any{"metadata": before}, map[string]any{"metadata": object["metadata"]}, besidesEmpty)
	}
	return nil
}

// embeds tells whether a schema has an embedded resource anywhere.
func embeds(s *structuralschema.Structural) bool {
	found := false
	visitor := structuralschema.Visitor{Structural: func(s *structuralschema.Structural) bool {
		found = found || s.XEmbeddedResource
		return false
	}}
	if s != nil {
		visitor.Visit(s.DeepCopy())
	}
	return found
}
