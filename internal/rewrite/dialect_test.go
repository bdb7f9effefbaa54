package rewrite

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	svmv1 "k8s.io/api/storagemigration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func at(c metav1.Condition, when time.Time) metav1.Condition {
	c.LastTransitionTime = metav1.NewTime(when)
	return c
}

// The stories that the controllers of 1.34, 1.36 and 1.37 tell of one migration, as their sources have it.
func TestMigratorSpeaksEveryVersion(t *testing.T) {
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	version := func(s svmv1.StorageVersionMigrationStatus) svmv1.StorageVersionMigrationStatus {
		s.ResourceVersion = "7"
		return s
	}
	over := func(c metav1.Condition) metav1.Condition { c.Status = metav1.ConditionFalse; return c }
	stories := map[string][]svmv1.StorageVersionMigrationStatus{
		"v1alpha1": {
			conditions(),
			version(conditions()),
			version(conditions(at(is("Running", "StorageVersionMigrationInProgress", ""), when))),
			version(conditions(over(is("Running", "StorageVersionMigrationInProgress", "")), at(is("Succeeded", "StorageVersionMigrationSucceeded", ""), when))),
		},
		"v1beta1": {
			conditions(),
			conditions(is("Running", "MigrationRunning", "The migration is running")),
			version(conditions(is("Running", "MigrationRunning", "The migration is running"), at(is("Succeeded", "StorageVersionMigrationSucceeded", ""), when))),
			version(conditions(over(is("Running", "MigrationCompleted", "Migration completed")), at(is("Succeeded", "StorageVersionMigrationSucceeded", ""), when))),
		},
		"v1": {
			conditions(),
			conditions(is("Running", "MigrationRunning", "The migration is running")),
			version(conditions(is("Running", "MigrationRunning", "The migration is running, 2 objects verified migrated"),
				at(is("Succeeded", "StorageVersionMigrationSucceeded", "Migration completed"), when))),
			version(conditions(over(is("Running", "MigrationCompleted", "Migration completed")),
				at(is("Succeeded", "StorageVersionMigrationSucceeded", "Migration completed"), when))),
		},
	}
	named := map[string]string{"group": "apps", "version": "v1", "resource": "deployments"}
	unnamed := map[string]string{"group": "apps", "resource": "deployments"}
	for _, tt := range []struct {
		name   string
		served []string
		speaks string
		target map[string]string
	}{
		{"v1alpha1 alone", []string{"v1alpha1"}, "v1alpha1", named},
		{"v1beta1 alone", []string{"v1beta1"}, "v1beta1", unnamed},
		{"v1 alone", []string{"v1"}, "v1", unnamed},
		{"all, the oldest preferred", []string{"v1alpha1", "v1beta1", "v1"}, "v1", unnamed},
		{"none but v1 left out", []string{"v1alpha1", "v1beta1"}, "v1beta1", unnamed},
		{"one from the future", []string{"v2", "v1alpha1"}, "v1alpha1", named},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				story := stories[tt.speaks]
				c := &controller{served: tt.served, status: func(d time.Duration) svmv1.StorageVersionMigrationStatus {
					return story[min(int(d/(5*time.Second)), len(story)-1)]
				}}
				m, last, _, err := migrate(t, t.Context(), c, MigratorOptions{})
				if err != nil || !last.Claims(svmv1.MigrationSucceeded) || last.Reason != "StorageVersionMigrationSucceeded" || !last.Since.Equal(when) {
					t.Errorf("%+v %v", last, err)
				}
				if !reflect.DeepEqual(c.target, tt.target) {
					t.Errorf("spec.resource %v, want %v", c.target, tt.target)
				}
				if len(c.spoken) != 1 || !c.spoken[tt.speaks] {
					t.Errorf("spoke %v, want %s", c.spoken, tt.speaks)
				}
				if len(c.deleted) != 1 || m.Leftover() != nil {
					t.Errorf("%v %v", c.deleted, m.Leftover())
				}
			})
		})
	}
}

func TestMigratorReportsFailureInEveryVersion(t *testing.T) {
	for _, served := range []string{"v1", "v1beta1", "v1alpha1"} {
		synctest.Test(t, func(t *testing.T) {
			c := &controller{served: []string{served}, status: func(time.Duration) svmv1.StorageVersionMigrationStatus {
				return conditions(is("Failed", "StorageVersionMigrationFailed", "migration encountered unhandled error: "+canary))
			}}
			_, last, _, err := migrate(t, t.Context(), c, MigratorOptions{})
			if err != nil || !last.Claims(svmv1.MigrationFailed) || last.Reason != "StorageVersionMigrationFailed" {
				t.Errorf("%s: %+v %v", served, last, err)
			}
		})
	}
}

// The controller of 1.34 waits for the garbage collector's cache without a condition: it has taken the migration up all
// the same.
func TestMigratorWaitsForAControllerWithoutConditions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &controller{served: []string{"v1alpha1"}, status: func(d time.Duration) svmv1.StorageVersionMigrationStatus {
			switch {
			case d < 10*time.Second:
				return conditions()
			case d < 5*time.Minute:
				return svmv1.StorageVersionMigrationStatus{ResourceVersion: "7"}
			}
			return conditions(is("Succeeded", "StorageVersionMigrationSucceeded", ""))
		}}
		_, last, seen, err := migrate(t, t.Context(), c, MigratorOptions{})
		if err != nil || !last.Claims(svmv1.MigrationSucceeded) || len(seen) != 2 || seen[0].Stall != StallWaiting {
			t.Errorf("%+v %+v %v", last, seen, err)
		}
	})
}

// From 1.36 on the controller trims the CRD after it has claimed success, and not at all once the migration is gone.
func TestMigratorLeavesTheControllerTimeToCleanUp(t *testing.T) {
	succeeded := is("Succeeded", "StorageVersionMigrationSucceeded", "")
	running := is("Running", "MigrationRunning", "")
	for _, tt := range []struct {
		name  string
		ends  time.Duration // the Running condition
		until time.Duration
	}{
		{"soon", 3 * time.Second, 3 * time.Second},
		{"never", time.Hour, cleanupTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &controller{status: func(d time.Duration) svmv1.StorageVersionMigrationStatus {
					r := running
					if d >= tt.ends {
						r.Status = metav1.ConditionFalse
					}
					return conditions(r, succeeded)
				}}
				_, last, _, err := migrate(t, t.Context(), c, MigratorOptions{})
				if err != nil || !last.Claims(svmv1.MigrationSucceeded) || len(c.deleted) != 1 {
					t.Errorf("%+v %v", last, err)
				}
				if d := time.Since(c.start); d < tt.until || d > tt.until+2*time.Second {
					t.Errorf("kept for %s, want %s", d, tt.until)
				}
			})
		})
	}
}

func TestMigratorIsNotServed(t *testing.T) {
	for name, served := range map[string][]string{"at all": {}, "in a version that is known": {"v2", "v3alpha1"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &controller{served: served}
				m, _, _, err := migrate(t, t.Context(), c, MigratorOptions{})
				var unserved *UnservedError
				if !errors.As(err, &unserved) || !slices.Equal(unserved.Versions, served) || m.Leftover() != nil {
					t.Errorf("%v %v", err, m.Leftover())
				}
				if len(c.requests) != 1 || c.requests["GET"] != 1 {
					t.Errorf("requests %v", c.requests)
				}
			})
		})
	}
}

// Not to be told which versions there are is no sign that there are none.
func TestMigratorIsNotToldTheVersions(t *testing.T) {
	unavailable := &reply{code: 503, body: status(503, metav1.StatusReasonServiceUnavailable, canary, "")}
	for name, tt := range map[string]struct {
		reply *reply
		until time.Duration
		check func(error) bool
	}{
		"for a while": {unavailable, 20 * time.Second, func(err error) bool { return err == nil }},
		"for good":    {unavailable, time.Hour, func(err error) bool { var o *OutageError; return errors.As(err, &o) && o.Failure.Code == 503 }},
		"by a proxy":  {&reply{code: 200, body: "<html>" + canary}, time.Hour, func(err error) bool { var o *OutageError; return errors.As(err, &o) }},
		"as not allowed": {&reply{code: 403, body: status(403, metav1.StatusReasonForbidden, `forbidden: User "eve" cannot get path "/apis/storagemigration.k8s.io"`, "")}, time.Hour,
			func(err error) bool { var f *Failure; return errors.As(err, &f) && f.Code == 403 }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &controller{status: func(time.Duration) svmv1.StorageVersionMigrationStatus {
					return conditions(is("Succeeded", "StorageVersionMigrationSucceeded", ""))
				}}
				c.asked = func() *reply {
					if time.Since(c.start) < tt.until {
						return tt.reply
					}
					return nil
				}
				m, _, _, err := migrate(t, t.Context(), c, MigratorOptions{MaxOutage: time.Minute})
				var unserved *UnservedError
				if !tt.check(err) || errors.As(err, &unserved) || m.Leftover() != nil {
					t.Errorf("%v %v", err, m.Leftover())
				}
				if err != nil && c.requests["POST"]+c.requests["DELETE"] != 0 {
					t.Errorf("requests %v", c.requests)
				}
			})
		})
	}
}

// Of several apiservers one may lack the version that another told of: the migration that was made is not taken for
// deleted then.
func TestMigratorMeetsAnOlderApiserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &controller{status: func(time.Duration) svmv1.StorageVersionMigrationStatus { return conditions() }}
		c.refuse = func(method string) *reply {
			if method == "GET" {
				return &reply{code: 404, body: "404 page not found"}
			}
			return nil
		}
		_, _, _, err := migrate(t, t.Context(), c, MigratorOptions{})
		var f *Failure
		var deleted *DeletedError
		if !errors.As(err, &f) || f.Kind != KindUnserved || errors.As(err, &deleted) || len(c.deleted) != 1 {
			t.Errorf("%v %v", err, c.deleted)
		}
	})
}
