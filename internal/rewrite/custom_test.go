package rewrite

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var selfies = Resource{
	GroupVersionResource: schema.GroupVersionResource{Group: "stable.example.com", Version: "v2", Resource: "selfierequests"},
	Kind:                 "SelfieRequest",
	Namespaced:           true,
	Custom:               true,
}

func patchSelfies(t *testing.T, f *fake, opts Options) map[string]Result {
	t.Helper()
	p, err := NewPatcher(f.memory(), selfies, opts)
	if err != nil {
		t.Fatal(err)
	}
	results, err := runAll(t, p, named(3))
	if err != nil {
		t.Fatal(err)
	}
	return results
}

// The printer columns of a custom resource may show its spec, so no table is asked for.
func TestCustomResourcesAreAskedForMetadata(t *testing.T) {
	f := newFake(t, func(name string, _ int) reply {
		if name == "o0" {
			return reply{code: 200, body: `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"annotations":{"a":"` + canary + `"},"managedFields":[{"manager":"x"}],"resourceVersion":"77"}}`}
		}
		return reply{}
	})
	results := patchSelfies(t, f, Options{Concurrency: 1})
	if r := results["o0"]; r.Status != Rewritten || r.Revision != 77 {
		t.Errorf("%+v", r)
	}
	if got, want := f.last.Header.Get("Accept"), "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"; got != want {
		t.Errorf("accept %s, want %s", got, want)
	}
	if got, want := f.last.URL.String(), "https://fake/apis/stable.example.com/v2/namespaces/ns/selfierequests/o2?fieldManager=svmctl"; got != want {
		t.Errorf("url %s, want %s", got, want)
	}
	if want := `{"apiVersion":"stable.example.com/v2","kind":"SelfieRequest","metadata":{"resourceVersion":"3"}}`; f.lastBody != want {
		t.Errorf("body %s", f.lastBody)
	}
}

func TestStatusIsPatched(t *testing.T) {
	f := newFake(t, nil)
	f.answer = func(string, int) reply { return reply{code: 200, body: table(9)} }
	patchSelfies(t, f, Options{Concurrency: 1, Subresource: "status"})
	if got, want := f.last.URL.Path, "/apis/stable.example.com/v2/namespaces/ns/selfierequests/o2/status"; got != want {
		t.Errorf("path %s, want %s", got, want)
	}
	if _, err := NewPatcher(f.memory(), selfies, Options{Subresource: "scale"}); err == nil {
		t.Error("a patch of scale does not rewrite the object, and is sent")
	}
}

// A CRD without the subresource answers with the object's name, word for word as if the object were gone.
func TestMissingStatusIsNoMissingObject(t *testing.T) {
	answer := func(string, int) reply {
		return reply{code: 404, body: `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"selfierequests.stable.example.com \"o0\" not found","reason":"NotFound","details":{"name":"o0","group":"stable.example.com","kind":"selfierequests"},"code":404}`}
	}
	one := func(opts Options) Result {
		t.Helper()
		p, err := NewPatcher(newFake(t, answer).memory(), selfies, opts)
		if err != nil {
			t.Fatal(err)
		}
		results, err := runAll(t, p, named(1))
		if err != nil {
			t.Fatal(err)
		}
		return results["o0"]
	}
	if r := one(Options{Subresource: "status"}); r.Status != Failed || r.Failure.Kind != KindUnserved || r.Failure.Code != 404 || r.Failure.Reason != string(metav1.StatusReasonNotFound) || r.Attempts != 1 {
		t.Errorf("status: %+v %+v", r, r.Failure)
	}
	if r := one(Options{}); r.Status != NotFound {
		t.Errorf("object: %+v %+v", r, r.Failure)
	}
}
