package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// third is the process of the apiserver that lags behind in these tests.
const third = "kube-apiserver-3"

// trio is a plane with three apiservers, the third of which has an EncryptionConfiguration of its own.
type trio struct {
	*plane
	file      string   // of the third one's EncryptionConfiguration
	urls      []string // in the order of their numbers
	addresses []string // host:port of these
}

// startTrio starts three apiservers with one content of their EncryptionConfigurations.
func startTrio(t *testing.T, encryption string, flags ...string) *trio {
	t.Helper()
	return startSeveral(t, 3, encryption, flags...)
}

// startSeveral starts so many apiservers, the last of which has a file of its own.
func startSeveral(t *testing.T, number int, encryption string, flags ...string) *trio {
	t.Helper()
	wantNamespaces(t)
	c := &trio{file: filepath.Join(t.TempDir(), "last.yaml")}
	c.writeThird(t, encryption)
	last := fmt.Sprintf("kube-apiserver-%d", number)
	flags = append(flags, "--apiservers", fmt.Sprint(number), "--encryption-provider-config-of", last+"="+c.file, "--without-controller-manager")
	c.plane = startPlane(t, encryption, flags...)
	c.urls = strings.Split(c.variable("PLAYGROUND_APISERVERS"), ",")
	if len(c.urls) != number {
		t.Fatalf("apiservers are %v, want %d", c.urls, number)
	}
	for _, url := range c.urls {
		c.addresses = append(c.addresses, strings.TrimPrefix(url, "https://"))
	}
	return c
}

// wantNamespaces skips a test where they may not be made, as by anybody but root. In CI they may.
func wantNamespaces(t *testing.T) {
	t.Helper()
	out, err := exec.Command("unshare", "--mount", "--net", "--uts", "mount", "-t", "tmpfs", "none", "/mnt").CombinedOutput()
	switch {
	case err != nil && os.Getenv("CI") != "":
		t.Fatalf("no namespaces can be made: %v: %s", err, out)
	case err != nil:
		t.Skipf("no namespaces can be made: %v: %s", err, out)
	}
}

func (c *trio) writeThird(t *testing.T, encryption string) {
	t.Helper()
	if err := os.WriteFile(c.file, []byte(encryption), 0o600); err != nil {
		t.Fatal(err)
	}
}

// through is a client of one apiserver, counted from 1.
func (c *trio) through(t *testing.T, number int) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(restConfig(t, filepath.Join(c.dir, fmt.Sprintf("kubeconfig-apiserver-%d", number))))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// awaitConfig waits until one apiserver says that it uses an EncryptionConfiguration.
func (c *trio) awaitConfig(t *testing.T, number int, config string) {
	t.Helper()
	client := c.through(t, number)
	awaitHash(t, config, func(ctx context.Context) (string, error) {
		metrics, err := client.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
		return string(metrics), err
	})
}

func awaitHash(t *testing.T, config string, read func(context.Context) (string, error)) {
	t.Helper()
	sum := sha256.Sum256([]byte(config))
	want := `hash="sha256:` + hex.EncodeToString(sum[:]) + `"`
	await(t, 30*time.Second, "an apiserver to use its EncryptionConfiguration", func(ctx context.Context) (bool, string) {
		metrics, err := read(ctx)
		if err != nil {
			return false, err.Error()
		}
		for line := range strings.Lines(metrics) {
			if strings.HasPrefix(line, "apiserver_encryption_config_controller_last_config_info{") {
				return strings.Contains(line, want), line
			}
		}
		return false, "no such metric"
	})
}

// reconfigure has the first two apiservers reload one EncryptionConfiguration and the third another.
func (c *trio) reconfigure(t *testing.T, config, ofThird string) {
	t.Helper()
	c.writeThird(t, ofThird)
	c.rotate(t, config)
	c.awaitConfig(t, 2, config)
	c.awaitConfig(t, 3, ofThird)
}

// restartThird starts the third apiserver again with another EncryptionConfiguration.
func (c *trio) restartThird(t *testing.T, config string) {
	t.Helper()
	c.playground(t, "stop", third)
	c.writeThird(t, config)
	c.playground(t, "start", third)
	c.awaitConfig(t, 3, config)
}

// all names all three apiservers.
func (c *trio) all() []string { return []string{"--apiserver", strings.Join(c.urls, ",")} }

// lease is the name of the identity lease of the apiserver with a hostname.
func (c *trio) lease(t *testing.T, hostname string) string {
	t.Helper()
	list, err := c.kube.CoordinationV1().Leases("kube-system").List(t.Context(), metav1.ListOptions{
		LabelSelector: "apiserver.kubernetes.io/identity=kube-apiserver,kubernetes.io/hostname=" + hostname})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 {
		t.Fatalf("%s has %d leases, want one", hostname, len(list.Items))
	}
	return list.Items[0].Name
}

// agreementReport is what a migration says of the apiservers.
type agreementReport struct {
	Verdict *string `json:"verdict"`
	Stopped *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Hint    string `json:"hint"`
	} `json:"stopped"`
	Outcomes   outcomes `json:"outcomes"`
	Warnings   []string `json:"warnings"`
	APIServers struct {
		Known         int   `json:"known"`
		Asked         int   `json:"asked"`
		Counted       bool  `json:"counted"`
		Agree         *bool `json:"agree"`
		Forced        bool  `json:"forced"`
		Disagreements []struct {
			Server   string `json:"server"`
			Identity string `json:"identity"`
			What     string `json:"what"`
		} `json:"disagreements"`
		Missing   []string `json:"missing"`
		Gone      []string `json:"gone"`
		Unchecked []string `json:"unchecked"`
	} `json:"apiservers"`
}

func (r result) agreement(t *testing.T) agreementReport {
	t.Helper()
	var report agreementReport
	r.decode(t, &report, "verdict", "stopped", "outcomes", "warnings", "apiservers")
	return report
}

func (r agreementReport) agree() string {
	if r.APIServers.Agree == nil {
		return "unknown"
	}
	return fmt.Sprint(*r.APIServers.Agree)
}

// wantCounted checks that all apiservers were found and asked.
func (r agreementReport) wantCounted(t *testing.T, agree bool) {
	t.Helper()
	if a := r.APIServers; r.agree() != fmt.Sprint(agree) || a.Known != 3 || a.Asked != 3 || !a.Counted || len(a.Missing)+len(a.Unchecked) > 0 || agree == (len(a.Disagreements) > 0) {
		t.Errorf("agree %s, want %t of three: %+v", r.agree(), agree, a)
	}
}

// wantLaggard checks that it is the third apiserver, and no other, that is named.
func (c *trio) wantLaggard(t *testing.T, r agreementReport, address, lease string) {
	t.Helper()
	r.wantCounted(t, false)
	a := r.APIServers
	if len(a.Disagreements) != 1 {
		t.Fatalf("%d disagreements, want that of the third apiserver alone: %+v", len(a.Disagreements), a)
	}
	if d := a.Disagreements[0]; d.Server != address || d.What != "EncryptionConfiguration" || d.Identity != lease+" ("+third+")" {
		t.Errorf("%+v, want %s, %s (%s)", d, address, lease, third)
	}
}

// refused runs a migration of secrets that has to be refused before anything is written, with one error that names the words.
func (c *trio) refused(t *testing.T, words []string, args ...string) agreementReport {
	t.Helper()
	revisions, _ := c.stored(t)
	result := c.svmctl(t, slices.Concat([]string{"migrate", "secrets", "--settle", "1s", "--yes", "-o", "json"}, args)...)
	c.wantRefusal(t, result, words...)
	if after, _ := c.stored(t); !maps.Equal(revisions, after) {
		t.Errorf("something was written\n%s", result)
	}
	return result.agreement(t)
}

func (c *trio) wantRefusal(t *testing.T, result result, words ...string) {
	t.Helper()
	result.wantCode(t, 3)
	result.wantError(t, append(words, "the apiservers do not agree", "--wait-converged", "--apiserver", "--force", "nothing was written")...)
	report := result.agreement(t)
	if report.Stopped == nil || report.Stopped.Code != "NotConverged" || verdict(report.Verdict) != "Incomplete" || report.Outcomes != (outcomes{}) || report.APIServers.Forced {
		t.Errorf("want a run that was stopped as NotConverged and Incomplete\n%s", result)
	}
}
