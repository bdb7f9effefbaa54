package rewrite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	svmv1 "k8s.io/api/storagemigration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// controller is an apiserver with one StorageVersionMigration, in memory.
type controller struct {
	start  time.Time
	served []string // versions of the API, v1 if nil
	status func(time.Duration) svmv1.StorageVersionMigrationStatus
	refuse func(method string) *reply // nil: served
	asked  func() *reply              // for the versions; nil: told

	mu       sync.Mutex
	svm      *svmv1.StorageVersionMigration
	target   map[string]string // spec.resource as it came
	spoken   map[string]bool   // versions of the requests
	deleted  []string
	requests map[string]int
}

const migrationsPath = "/apis/storagemigration.k8s.io"

func (c *controller) versions() []string {
	if c.served == nil {
		return []string{"v1"}
	}
	return c.served
}

// discover writes what the apiserver tells of the API group.
func (c *controller) discover(w http.ResponseWriter) {
	if len(c.versions()) == 0 {
		w.WriteHeader(404)
		io.WriteString(w, "404 page not found\n")
		return
	}
	group := metav1.APIGroup{TypeMeta: metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}, Name: "storagemigration.k8s.io"}
	for _, v := range c.versions() {
		group.Versions = append(group.Versions, metav1.GroupVersionForDiscovery{GroupVersion: "storagemigration.k8s.io/" + v, Version: v})
	}
	json.NewEncoder(w).Encode(group)
}

// accept takes a migration as the API server of that version does: with the fields it has and no others.
func (c *controller) accept(version string, body []byte) error {
	var sent struct {
		APIVersion, Kind string
		Spec             struct{ Resource map[string]string }
	}
	if err := json.Unmarshal(body, &sent); err != nil {
		return err
	}
	if want := "storagemigration.k8s.io/" + version; sent.APIVersion != want || sent.Kind != "StorageVersionMigration" {
		return fmt.Errorf("%s %s sent to %s", sent.APIVersion, sent.Kind, want)
	}
	c.target = sent.Spec.Resource
	c.svm = &svmv1.StorageVersionMigration{}
	strict := json.NewDecoder(bytes.NewReader(body))
	if version != "v1alpha1" {
		strict.DisallowUnknownFields()
	}
	c.svm.UID = "u1"
	return strict.Decode(c.svm)
}

// show writes the migration as it looks in a version: v1alpha1 has the conditions' time under another name.
func (c *controller) show(w io.Writer, version string) {
	b, err := json.Marshal(c.svm)
	if err != nil {
		panic(err)
	}
	if version == "v1alpha1" {
		b = bytes.ReplaceAll(b, []byte(`"lastTransitionTime"`), []byte(`"lastUpdateTime"`))
	}
	w.Write(b)
}

func (c *controller) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests == nil {
		c.requests, c.spoken = map[string]int{}, map[string]bool{}
	}
	c.requests[r.Method]++
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	refuse := func(rep *reply) (*http.Response, error) {
		if rep.err != nil {
			return nil, rep.err
		}
		w.WriteHeader(rep.code)
		io.WriteString(w, rep.body)
		return w.Result(), nil
	}
	if r.URL.Path == migrationsPath {
		if c.asked != nil {
			if rep := c.asked(); rep != nil {
				return refuse(rep)
			}
		}
		c.discover(w)
		return w.Result(), nil
	}
	version := strings.Split(strings.TrimPrefix(r.URL.Path, migrationsPath+"/"), "/")[0]
	c.spoken[version] = true
	if !slices.Contains(c.versions(), version) {
		return refuse(&reply{code: 404, body: "404 page not found"})
	}
	if c.refuse != nil {
		if rep := c.refuse(r.Method); rep != nil {
			return refuse(rep)
		}
	}
	notFound := &reply{code: 404, body: `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,"details":{"name":"` + path.Base(r.URL.Path) + `","kind":"storageversionmigrations"}}`}
	switch r.Method {
	case "POST":
		body, _ := io.ReadAll(r.Body)
		if err := c.accept(version, body); err != nil {
			return refuse(&reply{code: 400, body: err.Error()})
		}
		w.WriteHeader(201)
		c.show(w, version)
	case "GET":
		if c.svm == nil {
			return refuse(notFound)
		}
		c.svm.Status = c.status(time.Since(c.start))
		c.show(w, version)
	case "DELETE":
		if c.svm == nil {
			return refuse(notFound)
		}
		c.svm = nil
		c.deleted = append(c.deleted, path.Base(r.URL.Path))
		io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Success"}`)
	}
	return w.Result(), nil
}

func conditions(cs ...metav1.Condition) svmv1.StorageVersionMigrationStatus {
	return svmv1.StorageVersionMigrationStatus{Conditions: cs}
}

func is(typ, reason, message string) metav1.Condition {
	return metav1.Condition{Type: typ, Status: metav1.ConditionTrue, Reason: reason, Message: message}
}

// migrate runs a Migrator inside synctest.
func migrate(t *testing.T, ctx context.Context, c *controller, opts MigratorOptions) (*Migrator, Condition, []Condition, error) {
	t.Helper()
	c.start = time.Now()
	m, err := NewMigrator(&rest.Config{Host: "https://fake", Transport: c}, opts)
	if err != nil {
		t.Fatal(err)
	}
	var seen []Condition
	last, err := m.Run(ctx, schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, func(c Condition) { seen = append(seen, c) })
	if err != nil && strings.Contains(err.Error(), canary) {
		t.Errorf("canary in %v", err)
	}
	return m, last, seen, err
}

func TestMigratorFollowsTheController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &controller{status: func(d time.Duration) svmv1.StorageVersionMigrationStatus {
			switch {
			case d < 2*time.Second:
				return conditions()
			case d < 10*time.Second:
				return conditions(is("Running", "MigrationRunning", "The migration is running"))
			case d < 20*time.Second:
				return conditions(is("Running", "MigrationRunning", "The migration is running, 7/9 objects not yet migrated; transient error: "+canary))
			}
			return conditions(is("Running", "MigrationRunning", "The migration is running, 9 objects verified migrated"),
				is("Succeeded", "StorageVersionMigrationSucceeded", "Migration completed"))
		}}
		m, last, seen, err := migrate(t, t.Context(), c, MigratorOptions{})
		if err != nil || !last.Claims(svmv1.MigrationSucceeded) || last.Reason != "StorageVersionMigrationSucceeded" {
			t.Fatalf("%+v %v", last, err)
		}
		if len(seen) != 4 || seen[1].Remaining != 7 || seen[1].Total != 9 || seen[3].Type != "Succeeded" {
			t.Errorf("%+v", seen)
		}
		if m.Leftover() != nil || len(c.deleted) != 1 || !strings.HasPrefix(c.deleted[0], "svmctl-deployments-") {
			t.Errorf("%v %v", m.Leftover(), c.deleted)
		}
		if len(c.requests) != 3 {
			t.Errorf("verbs: %v", c.requests)
		}
	})
}

func TestMigratorReportsFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &controller{status: func(time.Duration) svmv1.StorageVersionMigrationStatus {
			return conditions(is("Failed", canary+" x", canary))
		}}
		_, last, _, err := migrate(t, t.Context(), c, MigratorOptions{})
		if err != nil || !last.Claims(svmv1.MigrationFailed) || last.Reason != "" || last.Message != canary {
			t.Errorf("%+v %v", last, err)
		}
	})
}

func TestMigratorStalls(t *testing.T) {
	running := func(message string) func(time.Duration) svmv1.StorageVersionMigrationStatus {
		return func(time.Duration) svmv1.StorageVersionMigrationStatus {
			return conditions(is("Running", "MigrationRunning", message))
		}
	}
	for _, tt := range []struct {
		name   string
		status func(time.Duration) svmv1.StorageVersionMigrationStatus
		want   Stall
		after  time.Duration
	}{
		{"unclaimed", func(time.Duration) svmv1.StorageVersionMigrationStatus { return conditions() }, StallUnclaimed, 2 * time.Minute},
		{"waiting", running("The migration is running"), StallWaiting, 10 * time.Minute},
		{"retrying", running("The migration is running, 1/2 objects not yet migrated; transient error: " + canary), StallRetrying, 10 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &controller{status: tt.status}
				_, _, seen, err := migrate(t, t.Context(), c, MigratorOptions{})
				var stall *StallError
				if !errors.As(err, &stall) || stall.Stall != tt.want {
					t.Fatalf("%v", err)
				}
				if d := time.Since(c.start); d < tt.after || d > tt.after+3*time.Second {
					t.Errorf("after %s", d)
				}
				if notice := seen[len(seen)-1]; notice.Stall != tt.want {
					t.Errorf("%+v", seen)
				}
				if len(c.deleted) != 1 {
					t.Error("not deleted")
				}
			})
		})
	}
	t.Run("not while something moves", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := &controller{}
			c.status = func(d time.Duration) svmv1.StorageVersionMigrationStatus {
				if d < time.Hour {
					return conditions(is("Running", "MigrationRunning", ""))
				}
				return conditions(is("Succeeded", "StorageVersionMigrationSucceeded", ""))
			}
			n := 0
			_, last, seen, err := migrate(t, t.Context(), c, MigratorOptions{Moved: func() bool { n++; return n%20 == 0 }})
			if err != nil || !last.Claims(svmv1.MigrationSucceeded) || len(seen) != 2 {
				t.Errorf("%+v %+v %v", last, seen, err)
			}
		})
	})
}
