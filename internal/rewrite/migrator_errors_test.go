package rewrite

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	svmv1 "k8s.io/api/storagemigration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestMigratorIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &controller{status: func(time.Duration) svmv1.StorageVersionMigrationStatus { return conditions() }}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		m, _, _, err := migrate(t, ctx, c, MigratorOptions{})
		if !errors.Is(err, context.DeadlineExceeded) || len(c.deleted) != 1 || m.Leftover() != nil {
			t.Errorf("%v %v %v", err, c.deleted, m.Leftover())
		}
	})
}

func TestMigratorRefusals(t *testing.T) {
	forbidden := reply{code: 403, body: `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"storageversionmigrations.storagemigration.k8s.io is forbidden: User \"eve\" cannot create resource \"storageversionmigrations\" in API group \"storagemigration.k8s.io\" at the cluster scope","details":{"group":"storagemigration.k8s.io","kind":"storageversionmigrations"}}`}
	t.Run("create", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := &controller{refuse: func(string) *reply { return &forbidden }}
			m, _, _, err := migrate(t, t.Context(), c, MigratorOptions{})
			var f *Failure
			if !errors.As(err, &f) || f.Kind != KindForbidden || f.Code != 403 || m.Leftover() != nil || c.requests["DELETE"] != 0 {
				t.Errorf("%v %v %v", err, m.Leftover(), c.requests)
			}
		})
	})
	t.Run("delete", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := &controller{
				status: func(time.Duration) svmv1.StorageVersionMigrationStatus { return conditions(is("Succeeded", "X", "")) },
				refuse: func(method string) *reply {
					if method == "DELETE" {
						return &forbidden
					}
					return nil
				}}
			m, last, _, err := migrate(t, t.Context(), c, MigratorOptions{})
			if err != nil || !last.Claims(svmv1.MigrationSucceeded) || m.Leftover() == nil || m.Leftover().Name != c.svm.Name {
				t.Errorf("%v %+v", err, m.Leftover())
			}
		})
	})
	t.Run("outage", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := &controller{status: func(time.Duration) svmv1.StorageVersionMigrationStatus { return conditions() }}
			c.refuse = func(string) *reply {
				if time.Since(c.start) > 5*time.Second {
					return &reply{err: errRefused}
				}
				return nil
			}
			m, _, _, err := migrate(t, t.Context(), c, MigratorOptions{MaxOutage: time.Minute})
			var outage *OutageError
			if !errors.As(err, &outage) || m.Leftover() == nil {
				t.Errorf("%v %v", err, m.Leftover())
			}
			if d := time.Since(c.start); d > 90*time.Second {
				t.Errorf("took %s", d)
			}
		})
	})
	t.Run("create without an answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := &controller{status: func(time.Duration) svmv1.StorageVersionMigrationStatus { return conditions(is("Succeeded", "X", "")) }}
			posts := 0
			c.refuse = func(method string) *reply {
				if method != "POST" {
					return nil
				}
				if posts++; posts == 1 {
					return &reply{err: io.ErrUnexpectedEOF}
				}
				c.svm = &svmv1.StorageVersionMigration{ObjectMeta: metav1.ObjectMeta{Name: "x", UID: "u1"}}
				return &reply{code: 409, body: `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"AlreadyExists","code":409}`}
			}
			_, last, _, err := migrate(t, t.Context(), c, MigratorOptions{})
			if err != nil || !last.Claims(svmv1.MigrationSucceeded) || len(c.deleted) != 1 {
				t.Errorf("%v %+v", err, last)
			}
		})
	})
	t.Run("deleted by somebody", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := &controller{}
			c.status = func(d time.Duration) svmv1.StorageVersionMigrationStatus { return conditions() }
			c.refuse = func(method string) *reply {
				if time.Since(c.start) > 3*time.Second {
					c.svm = nil
				}
				return nil
			}
			m, _, _, err := migrate(t, t.Context(), c, MigratorOptions{})
			var gone *DeletedError
			if !errors.As(err, &gone) || m.Leftover() != nil {
				t.Errorf("%v %v", err, m.Leftover())
			}
		})
	})
}
