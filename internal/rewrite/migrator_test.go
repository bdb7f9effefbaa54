package rewrite

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
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
	status func(time.Duration) svmv1.StorageVersionMigrationStatus
	refuse func(method string) *reply // nil: served

	mu       sync.Mutex
	svm      *svmv1.StorageVersionMigration
	deleted  []string
	requests map[string]int
}

func (c *controller) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests == nil {
		c.requests = map[string]int{}
	}
	c.requests[r.Method]++
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/apis/storagemigration.k8s.io" {
		io.WriteString(w, `{"kind":"APIGroup","apiVersion":"v1","name":"storagemigration.k8s.io","versions":[{"groupVersion":"storagemigration.k8s.io/v1beta1","version":"v1beta1"}]}`)
		return w.Result(), nil
	}
	if c.refuse != nil {
		if rep := c.refuse(r.Method); rep != nil {
			if rep.err != nil {
				return nil, rep.err
			}
			w.WriteHeader(rep.code)
			io.WriteString(w, rep.body)
			return w.Result(), nil
		}
	}
	notFound := func() {
		w.WriteHeader(404)
		io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,"details":{"name":"`+path.Base(r.URL.Path)+`","kind":"storageversionmigrations"}}`)
	}
	switch r.Method {
	case "POST":
		body, _ := io.ReadAll(r.Body)
		c.svm = &svmv1.StorageVersionMigration{}
		if err := json.Unmarshal(body, c.svm); err != nil {
			return nil, err
		}
		c.svm.UID = "u1"
		w.WriteHeader(201)
		json.NewEncoder(w).Encode(c.svm)
	case "GET":
		if c.svm == nil {
			notFound()
			break
		}
		c.svm.Status = c.status(time.Since(c.start))
		json.NewEncoder(w).Encode(c.svm)
	case "DELETE":
		if c.svm == nil {
			notFound()
			break
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
	last, err := m.Run(ctx, schema.GroupResource{Group: "apps", Resource: "deployments"}, func(c Condition) { seen = append(seen, c) })
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
