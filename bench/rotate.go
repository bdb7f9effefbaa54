package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// reloadTimeout bounds the wait for the apiserver to take up a new configuration.
const reloadTimeout = 2 * time.Minute

// rotation is an EncryptionConfiguration with two keys, whose order is turned again and again.
type rotation struct {
	path  string
	names [2]string
	keys  [2]string
	first int // of the two, the one that secrets are written under
}

func newRotation(dir string) (*rotation, error) {
	r := &rotation{path: filepath.Join(dir, "encryption.yaml"), names: [2]string{"key1", "key2"}}
	for i := range r.keys {
		raw := make([]byte, 32)
		rand.Read(raw)
		r.keys[i] = base64.StdEncoding.EncodeToString(raw)
	}
	return r, r.write()
}

// target is what secrets are written as, in svmctl's terms.
func (r *rotation) target() string { return "aescbc:" + r.names[r.first] }

func (r *rotation) config() string {
	second := 1 - r.first
	return fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - aescbc:
          keys:
            - {name: %s, secret: %s}
            - {name: %s, secret: %s}
      - identity: {}
`, r.names[r.first], r.keys[r.first], r.names[second], r.keys[second])
}

func (r *rotation) write() error {
	if err := os.WriteFile(r.path, []byte(r.config()), 0o600); err != nil {
		return fmt.Errorf("writing the encryption configuration: %w", err)
	}
	return nil
}

// turn puts the other key first and waits until the apiserver's metrics name the new file.
func (r *rotation) turn(ctx context.Context, p *plane) error {
	r.first = 1 - r.first
	if err := r.write(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	want := fmt.Sprintf(`hash="sha256:%x"`, sha256.Sum256([]byte(r.config())))
	for {
		metrics, _, err := measure(ctx, p.env, p.playground, "kubectl", "get", "--raw", "/metrics")
		if err != nil && ctx.Err() == nil {
			return err
		}
		for line := range strings.Lines(string(metrics)) {
			if strings.HasPrefix(line, "apiserver_encryption_config_controller_last_config_info{") && strings.Contains(line, want) {
				return nil
			}
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return errors.New("waiting for the apiserver to reload its encryption configuration: too long")
		}
	}
}
