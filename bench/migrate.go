package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	_ "embed"

	clientv3 "go.etcd.io/etcd/client/v3"
)

//go:embed rbac.yaml
var rbac []byte

// migration is the plane on which the backends are compared.
type migration struct {
	*plane
	rotation *rotation
	etcd     *clientv3.Client
	secrets  int
}

// benchMigrate compares the backends of migrate with other ways to have every secret written again. Before each of
// them the keys are turned, so that all secrets are stale.
func benchMigrate(ctx context.Context, opts options) (Table, error) {
	m, err := startMigration(ctx, opts)
	if err != nil {
		return Table{}, err
	}
	defer m.close()
	defer m.etcd.Close()

	patch := &Row{Name: "svmctl migrate --backend patch"}
	bare := &Row{Name: fmt.Sprintf("bare patches, %d in flight", inFlight)}
	svm := &Row{Name: "svmctl migrate --backend svm"}
	svmWork := &Row{Name: "the same, without the wait for the first write"}
	replace := &Row{Name: "kubectl get -o json | kubectl replace -f -"}
	t := Table{
		Title: fmt.Sprintf("Migration: %d secrets of 1.1 kB, all of them stale", opts.secrets),
		Unit:  "secrets", Rows: []*Row{patch, bare, svm, svmWork, replace},
	}
	var waits []time.Duration
	for round := range opts.rounds {
		for _, step := range []struct {
			what string
			run  func(ctx context.Context) error
		}{
			{"svmctl with its own patches", func(ctx context.Context) error {
				u, err := m.migrate(ctx, "patcher", "patch")
				patch.add(opts.secrets, u.wall, u)
				return err
			}},
			{"bare patches", func(ctx context.Context) error {
				_, u, err := self(ctx, m.env, "patch-secrets")
				bare.add(opts.secrets, u.wall, u)
				return err
			}},
			{"svmctl with the in-tree controller", func(ctx context.Context) error {
				u, wait, work, err := m.migrateBySVM(ctx)
				svm.add(opts.secrets, u.wall, u)
				svmWork.add(opts.secrets, work, u)
				waits = append(waits, wait)
				return err
			}},
			{"kubectl", func(ctx context.Context) error {
				const script = `"$0" kubectl get secrets -A -o json | "$0" kubectl replace -f - >/dev/null`
				_, u, err := measure(ctx, m.env, "sh", "-c", script, m.playground)
				replace.add(opts.secrets, u.wall, u)
				return err
			}},
		} {
			fmt.Fprintf(opts.log, "bench: rewriting, round %d of %d: %s\n", round+1, opts.rounds, step.what)
			if err := m.rotation.turn(ctx, m.plane); err != nil {
				return Table{}, err
			}
			if err := step.run(ctx); err != nil {
				return Table{}, err
			}
			// Whoever wrote, etcd has to hold nothing but the new key.
			if _, _, err := measure(ctx, m.env, m.svmctl, "audit", "--prefix", secretsPrefix, "--expect", "secrets="+m.rotation.target()); err != nil {
				return Table{}, fmt.Errorf("%s left stale secrets: %w", step.what, err)
			}
		}
	}
	t.compare()
	t.Goals = []Goal{
		{Text: "patch backend at least 3 times the svm backend", Value: svm.Ratio, Reached: svm.Ratio >= 3},
		{Text: "patch backend at least 0.8 of the bare patches", Value: bare.Ratio, Reached: bare.Ratio >= 0.8},
	}
	t.Notes = []string{
		fmt.Sprintf("The in-tree controller waited %.0f s (median; %.0f to %.0f s) for the garbage collector's cache before its first write.",
			median(waits).Seconds(), slices.Min(waits).Seconds(), slices.Max(waits).Seconds()),
		"svmctl is measured from its start to its verdict, with two scans of etcd, as a user who may `patch secrets` (svm: create, get and delete migrations) and nothing else; kubectl as an administrator.",
	}
	return t, nil
}

func startMigration(ctx context.Context, opts options) (*migration, error) {
	m := &migration{secrets: opts.secrets}
	var err error
	m.plane, err = startPlane(ctx, opts.bin, func(dir string) ([]string, error) {
		if m.rotation, err = newRotation(dir); err != nil {
			return nil, err
		}
		return []string{"--encryption-provider-config", m.rotation.path, "--encryption-reload-interval", "1s", "--user", "patcher", "--user", "migrator"}, nil
	})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(opts.log, "bench: creating %d secrets\n", opts.secrets)
	if err := m.fill(ctx); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *migration) fill(ctx context.Context) error {
	manifest := filepath.Join(m.dir, "rbac.yaml")
	if err := os.WriteFile(manifest, rbac, 0o600); err != nil {
		return fmt.Errorf("writing the manifest of rights: %w", err)
	}
	if _, _, err := measure(ctx, m.env, m.playground, "kubectl", "create", "-f", manifest); err != nil {
		return err
	}
	if _, _, err := self(ctx, m.env, "create-secrets", strconv.Itoa(m.secrets)); err != nil {
		return err
	}
	var err error
	m.etcd, err = openEtcd(ctx, m.env)
	return err
}

// migrate runs svmctl and makes sure that it rewrote every secret.
func (m *migration) migrate(ctx context.Context, user, backend string) (usage, error) {
	out, u, err := measure(ctx, m.as(user), m.svmctl, "migrate", "secrets", "--to", m.rotation.target(), "--backend", backend, "--yes", "-o", "json")
	if err != nil {
		return u, err
	}
	var report struct {
		Verdict  string
		Outcomes struct{ Rewritten, ChangedByOthers int }
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return u, fmt.Errorf("reading the migration report: %w", err)
	}
	if done := report.Outcomes.Rewritten + report.Outcomes.ChangedByOthers; report.Verdict != "Complete" || done < m.secrets {
		return u, fmt.Errorf("svmctl says %s with %d of %d secrets rewritten", report.Verdict, done, m.secrets)
	}
	return u, nil
}

// migrateBySVM tells apart how long the in-tree controller waited and how long it wrote, as etcd saw it.
func (m *migration) migrateBySVM(ctx context.Context) (u usage, wait, work time.Duration, err error) {
	writes := watchWrites(ctx, m.etcd)
	started := time.Now()
	u, err = m.migrate(ctx, "migrator", "svm")
	seen := writes()
	if err == nil && seen.writes < m.secrets {
		err = fmt.Errorf("etcd saw %d writes of %d secrets", seen.writes, m.secrets)
	}
	return u, seen.first.Sub(started), seen.last.Sub(seen.first), err
}
