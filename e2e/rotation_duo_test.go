package e2e

import (
	"os"
	"path/filepath"
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
	d := &duo{trio: startSeveral(t, 2, encryption), next: filepath.Join(t.TempDir(), "next.yaml")}
	d.write(t, d.next, next)
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
