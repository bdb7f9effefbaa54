package e2e

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// second is the process of the apiserver that lags behind in a duo.
const second = "kube-apiserver-2"

// duo is a plane with two apiservers, the second of which has an EncryptionConfiguration of its own.
type duo struct {
	*trio
	next string // the file that svmctl is given, whatever the apiservers have
}

func startDuo(t *testing.T, encryption, next string) *duo {
	t.Helper()
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUTS | syscall.CLONE_NEWNET}
	if err := cmd.Run(); errors.Is(err, fs.ErrPermission) {
		t.Skip("only root may make the namespaces that several apiservers need")
	} else if err != nil {
		t.Fatal(err)
	}
	d := &duo{trio: &trio{file: filepath.Join(t.TempDir(), "second.yaml")}, next: filepath.Join(t.TempDir(), "next.yaml")}
	d.write(t, d.file, encryption)
	d.write(t, d.next, next)
	d.plane = startPlane(t, encryption, "--apiservers", "2", "--encryption-provider-config-of", second+"="+d.file, "--without-controller-manager")
	d.urls = strings.Split(d.variable("PLAYGROUND_APISERVERS"), ",")
	for _, url := range d.urls {
		d.addresses = append(d.addresses, strings.TrimPrefix(url, "https://"))
	}
	return d
}

func (d *duo) write(t *testing.T, file, config string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reloadSecond has the second apiserver use an EncryptionConfiguration.
func (d *duo) reloadSecond(t *testing.T, config string) {
	t.Helper()
	d.write(t, d.file, config)
	d.awaitConfig(t, 2, config)
}
