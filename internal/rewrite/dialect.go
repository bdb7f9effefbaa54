package rewrite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	svmv1 "k8s.io/api/storagemigration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

var migrations = schema.GroupResource{Group: "storagemigration.k8s.io", Resource: "storageversionmigrations"}

// dialect is one version of the storagemigration.k8s.io API.
type dialect struct {
	version string
	names   bool // spec.resource names a version as well as group and resource
}

// dialects are in order of preference: Kubernetes 1.37, 1.35 and 1.30 brought them. The API's own Go types cannot be used
// for all, since each release of k8s.io/api has the versions of its time alone.
var dialects = []dialect{{version: "v1"}, {version: "v1beta1"}, {version: "v1alpha1", names: true}}

// migrationObject is what is sent and read of a StorageVersionMigration, in any version.
type migrationObject struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
		UID  string `json:"uid,omitempty"`
	} `json:"metadata"`
	Spec struct {
		Resource struct {
			Group    string `json:"group"`
			Version  string `json:"version,omitempty"`
			Resource string `json:"resource"`
		} `json:"resource"`
	} `json:"spec"`
	Status migrationStatus `json:"status,omitzero"`
}

type migrationStatus struct {
	Conditions      []migrationCondition `json:"conditions,omitempty"`
	ResourceVersion string               `json:"resourceVersion,omitempty"`
}

// running reports whether the controller counts the migration among those at work.
func (s migrationStatus) running() bool {
	for _, c := range s.Conditions {
		if claim(c).Claims(svmv1.MigrationRunning) {
			return true
		}
	}
	return false
}

type migrationCondition struct {
	Type               string      `json:"type"`
	Status             string      `json:"status"`
	Reason             string      `json:"reason"`
	Message            string      `json:"message"`
	LastTransitionTime metav1.Time `json:"lastTransitionTime"` // from v1beta1 on
	LastUpdateTime     metav1.Time `json:"lastUpdateTime"`     // v1alpha1
}

func (c migrationCondition) since() time.Time {
	if c.LastTransitionTime.IsZero() {
		return c.LastUpdateTime.Time
	}
	return c.LastTransitionTime.Time
}

// refusal is why a request brought nothing, and how to go on.
type refusal struct {
	failure    *Failure
	course     course
	retryAfter time.Duration
}

// gone tells whether an error says that the thing asked for is not there, which an API that is not served does not.
func gone(err error) bool {
	var f *Failure
	return errors.As(err, &f) && f.Kind == KindRequest && f.Code == http.StatusNotFound
}

// migrationClient sends single requests for StorageVersionMigrations.
type migrationClient struct {
	rest *rest.RESTClient // builds and checks paths
	http *http.Client
}

func newMigrationClient(cfg *rest.Config) (*migrationClient, error) {
	rc, client, err := connect(cfg, schema.GroupVersion{Group: migrations.Group, Version: dialects[0].version}, 1)
	if err != nil {
		return nil, err
	}
	return &migrationClient{rest: rc, http: client}, nil
}

// versions asks which versions of the API are served; a refusal with 404 means none.
func (c *migrationClient) versions(ctx context.Context) ([]string, *refusal) {
	var group metav1.APIGroup
	if r := c.send(ctx, http.MethodGet, "", nil, &group, "/apis", migrations.Group); r != nil {
		if r.failure.Code == http.StatusNotFound {
			// "404 page not found", without a Status
			r.failure.Kind = KindRequest
		}
		return nil, r
	}
	var versions []string
	for _, v := range group.Versions {
		versions = append(versions, v.Version)
	}
	return versions, nil
}

func (c *migrationClient) create(ctx context.Context, d dialect, name string, res schema.GroupVersionResource, got *migrationObject) *refusal {
	svm := migrationObject{APIVersion: migrations.Group + "/" + d.version, Kind: "StorageVersionMigration"}
	svm.Metadata.Name = name
	svm.Spec.Resource.Group, svm.Spec.Resource.Resource = res.Group, res.Resource
	if d.names {
		svm.Spec.Resource.Version = res.Version
	}
	*got = migrationObject{}
	return c.send(ctx, http.MethodPost, name, svm, got, d.path()...)
}

func (c *migrationClient) get(ctx context.Context, d dialect, name string, got *migrationObject) *refusal {
	*got = migrationObject{}
	return c.send(ctx, http.MethodGet, name, nil, got, append(d.path(), name)...)
}

func (c *migrationClient) delete(ctx context.Context, d dialect, name string) *refusal {
	return c.send(ctx, http.MethodDelete, name, nil, nil, append(d.path(), name)...)
}

func (d dialect) path() []string {
	return []string{"/apis", migrations.Group, d.version, migrations.Resource}
}

// send makes one request and reads at most 1 MiB of the answer into out. name is the object's that the request is about.
func (c *migrationClient) send(ctx context.Context, method, name string, in, out any, path ...string) *refusal {
	r := c.rest.Verb(method).AbsPath(path...)
	var body []byte
	if in != nil {
		r = r.Param("fieldManager", fieldManager)
		var err error
		if body, err = json.Marshal(in); err != nil {
			return unsent(err)
		}
	}
	if err := r.Error(); err != nil {
		return unsent(err)
	}
	req, err := http.NewRequestWithContext(ctx, method, r.URL().String(), bytes.NewReader(body))
	if err != nil {
		return unsent(err)
	}
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return &refusal{failure: noAnswer(err).failure, course: down}
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return refused(name, resp)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	if err != nil {
		return &refusal{failure: noAnswer(err).failure, course: down}
	}
	if out == nil {
		return nil
	}
	if json.Unmarshal(answer, out) != nil {
		// The decoder's text quotes the answer.
		return &refusal{failure: &Failure{Kind: KindTransport, Code: resp.StatusCode, Reason: ReasonTransport}, course: down}
	}
	return nil
}

func unsent(err error) *refusal {
	return &refusal{failure: &Failure{Kind: KindRequest, Message: clip(fmt.Sprint(err))}, course: settled}
}

// refused judges an answer that is none of success. What is not there, or there already, is a Failure here.
func refused(name string, resp *http.Response) *refusal {
	r := &refusal{retryAfter: retryAfter(resp)}
	st := readStatus(resp.Body)
	if st != nil && (st.Details == nil || st.Details.Name == "") {
		name = "" // the authorizer knows no name in a create
	}
	var s Status
	s, r.failure, r.course = judge(migrations, name, resp.StatusCode, st)
	if s == NotFound || s == Conflict {
		r.failure = &Failure{Kind: KindRequest, Code: resp.StatusCode, Reason: knownReason(st.Reason), Message: clip(st.Message)}
	}
	return r
}
