package apiservers

import (
	"bufio"
	"bytes"
	"context"
	"io"
)

// readiness is the health check of which that of each KMS v2 plugin is a part, for which it makes a new data key when the plugin
// names a new key (k8s.io/apiserver pkg/server/options/encryptionconfig, isKMSv2ProviderHealthyAndMaybeRotateDEK). Where that fails
// it goes on with the old one for a while, and the check fails. Every authenticated user may read it.
const readiness = "/readyz"

// readReadiness finds out whether the keys of the metrics, read before, are in use.
func (s *Server) readReadiness(ctx context.Context, c *client) {
	checked := false
	_, p := c.get(ctx, readiness, "verbose", "text/plain", maxKept, func(r io.Reader) error {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			checked = checked || bytes.HasPrefix(lines.Bytes(), []byte("[+]kms-provider"))
		}
		return lines.Err()
	})
	switch {
	case p != nil:
		s.kmsUnready = p.text
	case !checked:
		s.kmsUnready = "it names no KMS plugin"
	}
}
