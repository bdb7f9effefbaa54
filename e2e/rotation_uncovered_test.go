package e2e

import (
	"slices"
	"testing"
)

// customUncovered migrates the version of a custom resource where an EncryptionConfiguration is at hand, as on every control-plane
// node that has one, and does not cover it.
func (d *duo) customUncovered(t *testing.T) {
	d.kubectl(t, "", "apply", "-f", "../testdata/crd/selfierequests-v1.yaml")
	d.kubectl(t, "", "wait", "--for=condition=Established", "crd/selfierequests.stable.example.com", "--timeout=20s")
	d.kubectl(t, "", "create", "-f", "../testdata/crd/cr1.yaml")
	// Another version is never stored here: what counts is that nobody takes the run for one that decrypts.
	args := []string{"migrate", "selfierequests.stable.example.com", "--encryption-provider-config", d.config, "--yes", "--settle", "0", "--wait-converged", "20s"}
	result := d.svmctl(t, slices.Concat(args, d.all())...)
	result.wantCode(t, 0)
	result.wantStdout(t, "Verdict: Complete")
}
