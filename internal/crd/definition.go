// Package crd knows CustomResourceDefinitions: as a cluster or a file declares them, and what their schemas make of an object
// that is stored in etcd. It never reads etcd. The one thing that it writes is status.storedVersions, in SetStoredVersions.
package crd

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// Definition is one CustomResourceDefinition. One that was read from a file has no StoredVersions, ResourceVersion and UID.
type Definition struct {
	Name, Group, Plural, Kind string
	Namespaced                bool
	Versions                  []Version // in the order of spec.versions
	StoredVersions            []string  // status.storedVersions
	Conversion                Conversion
	PreserveUnknownFields     bool // spec.preserveUnknownFields: nothing is pruned
	ResourceVersion, UID      string
	Terminating, Established  bool
	Generation                int64         // grows with every change of the spec
	UnchangedFor              time.Duration // since anything but the status was changed, by the apiserver's clock; 0: not known
	UnknownFields             []string      // of a file: paths that apiextensions.k8s.io/v1 does not know, at most 32

	object *apiextensionsv1.CustomResourceDefinition
}

// Version is one entry of spec.versions.
type Version struct {
	Name                                           string
	Served, Storage, Deprecated, StatusSubresource bool
}

// Conversion is how objects get from one version to another.
type Conversion struct {
	Strategy       string   // None or Webhook
	Service        *Service // where the webhook is; nil if it is at a URL
	Host           string   // of the webhook's URL, with its port; nothing else of a URL is kept, as it may hold credentials
	ReviewVersions []string // spec.conversion.webhook.conversionReviewVersions
}

// Service is a Service that a webhook stands behind.
type Service struct {
	Namespace, Name, Path string
	Port                  int32
}

// Webhook tells whether objects pass through a webhook on their way from one version to another.
func (c Conversion) Webhook() bool { return c.Strategy == string(apiextensionsv1.WebhookConverter) }

// String is the strategy, and where the webhook is.
func (c Conversion) String() string {
	switch {
	case c.Service != nil:
		return fmt.Sprintf("%s: service %s/%s port %d path %q", c.Strategy, c.Service.Namespace, c.Service.Name, c.Service.Port, c.Service.Path)
	case c.Host != "":
		return fmt.Sprintf("%s: %s", c.Strategy, c.Host)
	}
	return c.Strategy
}

// Storage is the version that objects are written at, "" if spec.versions has none.
func (d *Definition) Storage() string {
	for _, v := range d.Versions {
		if v.Storage {
			return v.Name
		}
	}
	return ""
}

// Served are the versions that the apiserver serves, in the order of spec.versions.
func (d *Definition) Served() []string {
	var names []string
	for _, v := range d.Versions {
		if v.Served {
			names = append(names, v.Name)
		}
	}
	return names
}

// Through is the version to send patches to, so that an object is converted as seldom as possible: the storage version where it
// is served, else the first one that is. "" means that no version is served, and no object can be rewritten.
func (d *Definition) Through() string {
	first := ""
	for _, v := range d.Versions {
		switch {
		case v.Served && v.Storage:
			return v.Name
		case v.Served && first == "":
			first = v.Name
		}
	}
	return first
}

// Version finds an entry of spec.versions.
func (d *Definition) Version(name string) (Version, bool) {
	for _, v := range d.Versions {
		if v.Name == name {
			return v, true
		}
	}
	return Version{}, false
}

// APIVersion is what objects of a version hold in their apiVersion.
func (d *Definition) APIVersion(version string) string { return d.Group + "/" + version }

// WithoutSchema is a copy that takes little memory, and that NewPruner and Object have no use for.
func (d *Definition) WithoutSchema() *Definition {
	c := *d
	c.object = nil
	return &c
}

// SameSpec tells whether other is the same CustomResourceDefinition, its spec unchanged all the time between the two: not one that
// was made anew under the same name, nor one that was changed and changed back. It is false after WithoutSchema.
func (d *Definition) SameSpec(other *Definition) bool {
	return d.object != nil && other.object != nil && d.UID == other.UID && d.Generation == other.Generation
}

// Object is a copy of the whole CustomResourceDefinition, defaults filled in; nil after WithoutSchema.
func (d *Definition) Object() *apiextensionsv1.CustomResourceDefinition { return d.object.DeepCopy() }

// define takes over an object of the API.
func define(o *apiextensionsv1.CustomResourceDefinition) *Definition {
	apiextensionsv1.SetObjectDefaults_CustomResourceDefinition(o)
	o.ManagedFields = nil
	d := &Definition{
		Name: o.Name, Group: o.Spec.Group, Plural: o.Spec.Names.Plural, Kind: o.Spec.Names.Kind,
		Namespaced:            o.Spec.Scope == apiextensionsv1.NamespaceScoped,
		StoredVersions:        o.Status.StoredVersions,
		PreserveUnknownFields: o.Spec.PreserveUnknownFields,
		ResourceVersion:       o.ResourceVersion, UID: string(o.UID),
		Terminating: o.DeletionTimestamp != nil, Generation: o.Generation,
		object: o,
	}
	for _, v := range o.Spec.Versions {
		d.Versions = append(d.Versions, Version{
			Name: v.Name, Served: v.Served, Storage: v.Storage, Deprecated: v.Deprecated,
			StatusSubresource: v.Subresources != nil && v.Subresources.Status != nil,
		})
	}
	for _, c := range o.Status.Conditions {
		if c.Type == apiextensionsv1.Established {
			d.Established = c.Status == apiextensionsv1.ConditionTrue
		}
	}
	if c := o.Spec.Conversion; c != nil {
		d.Conversion = conversion(c)
	}
	return d
}

func conversion(c *apiextensionsv1.CustomResourceConversion) Conversion {
	out := Conversion{Strategy: string(c.Strategy)}
	if c.Webhook == nil {
		return out
	}
	out.ReviewVersions = c.Webhook.ConversionReviewVersions
	client := c.Webhook.ClientConfig
	switch {
	case client == nil:
	case client.Service != nil:
		s := client.Service
		out.Service = &Service{Namespace: s.Namespace, Name: s.Name, Port: 443}
		if s.Path != nil {
			out.Service.Path = *s.Path
		}
		if s.Port != nil {
			out.Service.Port = *s.Port
		}
	case client.URL != nil:
		if u, err := url.Parse(*client.URL); err == nil {
			out.Host = strings.ToValidUTF8(u.Host, "")
		}
	}
	return out
}
