package main

import (
	"bytes"
	"context"
	"crypto/aes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"k8s.io/apiserver/pkg/storage/value"
	aestransformer "k8s.io/apiserver/pkg/storage/value/encrypt/aes"
)

// benchKey encrypts what is opened. It is nobody's.
var benchKey = bytes.Repeat([]byte("benchkey"), 4)

// benchOpen compares an audit that opens every value with one that opens none.
func benchOpen(ctx context.Context, opts options) (Table, error) {
	p, err := startPlane(ctx, opts.bin, func(string) ([]string, error) { return []string{"--etcd-only"}, nil })
	if err != nil {
		return Table{}, err
	}
	defer p.close()
	config := filepath.Join(p.dir, "encryption.yaml")
	text := fmt.Sprintf("apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n  - aescbc: {keys: [{name: key1, secret: %s}]}\n",
		base64.StdEncoding.EncodeToString(benchKey))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return Table{}, fmt.Errorf("writing the EncryptionConfiguration: %w", err)
	}
	fmt.Fprintf(opts.log, "bench: putting %d encrypted values into etcd\n", opts.sealed)
	if _, _, err := self(ctx, p.env, "load-sealed", strconv.Itoa(opts.sealed)); err != nil {
		return Table{}, err
	}
	all := &Row{Name: "svmctl audit --open all"}
	none := &Row{Name: "svmctl audit --open none"}
	without := &Row{Name: "svmctl audit, without the file"}
	t := Table{Title: fmt.Sprintf("Opening: %d secrets of 1.1 kB under aescbc, over TLS", opts.sealed), Unit: "keys", Rows: []*Row{all, none, without}}
	for round := range opts.rounds {
		fmt.Fprintf(opts.log, "bench: opening them, round %d of %d\n", round+1, opts.rounds)
		for _, way := range []struct {
			row    *Row
			opened string
			args   []string
		}{
			{all, `"opened": "verified"`, []string{"--encryption-provider-config", config, "--open", "all"}},
			{none, `"opened": "notTried"`, []string{"--encryption-provider-config", config, "--open", "none"}},
			{without, `"opened": "notTried"`, nil},
		} {
			out, u, err := measure(ctx, p.env, p.svmctl, append([]string{"audit", "-o", "json"}, way.args...)...)
			if err != nil {
				return Table{}, err
			}
			if err := checkAudit(out, opts.sealed); err != nil {
				return Table{}, err
			}
			if bytes.Count(out, []byte(`"opened": `)) != bytes.Count(out, []byte(way.opened)) {
				return Table{}, fmt.Errorf("%s: not everything is %s", way.row.Name, way.opened)
			}
			way.row.add(opts.sealed, u.wall, u)
		}
	}
	t.compare()
	t.Goals = []Goal{
		{Text: "opening costs no more than twice the scan without", Value: none.Rate / all.Rate, Reached: none.Rate <= 2*all.Rate},
		{Text: "opening in at most 100 MiB", Value: mebibytes(all.PeakRSS), Reached: all.PeakRSS <= 100<<20},
	}
	return t, nil
}

// sealedSecret is the i-th secret as an apiserver would store it under the bench's key.
func sealedSecret(ctx context.Context) func(i int, random *rand.ChaCha8) (string, []byte, error) {
	block, err := aes.NewCipher(benchKey)
	if err != nil {
		panic(err) // the key is constant
	}
	transformer := aestransformer.NewCBCTransformer(block)
	return func(i int, random *rand.ChaCha8) (string, []byte, error) {
		key, plain, err := storedSecret(2*i, random) // those of even numbers are plaintext
		if err != nil {
			return "", nil, err
		}
		sealed, err := transformer.TransformToStorage(ctx, plain, value.DefaultContext(key))
		if err != nil {
			return "", nil, fmt.Errorf("encrypting a secret: %w", err)
		}
		return key, append([]byte(aescbcPrefix), sealed...), nil
	}
}
