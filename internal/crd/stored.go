package crd

import (
	"errors"
	"strconv"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/install"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

// ErrStored means that a payload is no CustomResourceDefinition that an apiserver could have stored. What is wrong with it is not
// told: it could be any byte of it.
var ErrStored = errors.New("no CustomResourceDefinition that can be read")

// Decode reads a CustomResourceDefinition as an apiserver stores it, which may be in a version of its API that is not served any
// more. Revision is that under which etcd has it.
func Decode(payload []byte, revision int64) (*Definition, error) {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	decoded, _, err := serializer.NewCodecFactory(scheme).UniversalDecoder().Decode(payload, nil, nil)
	if err != nil {
		return nil, ErrStored
	}
	served, err := scheme.ConvertToVersion(decoded, apiextensionsv1.SchemeGroupVersion)
	o, ok := served.(*apiextensionsv1.CustomResourceDefinition)
	if err != nil || !ok || o.Name == "" {
		return nil, ErrStored
	}
	o.ResourceVersion = strconv.FormatInt(revision, 10)
	return define(o), nil
}
