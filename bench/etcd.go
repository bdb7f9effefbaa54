package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const (
	registry = "/registry/"
	pageKeys = 10_000
)

// openEtcd opens etcd as etcdctl's variables in env say.
func openEtcd(ctx context.Context, env []string) (*clientv3.Client, error) {
	vars := make(map[string]string)
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		vars[name] = value
	}
	info := transport.TLSInfo{
		TrustedCAFile: vars["ETCDCTL_CACERT"], CertFile: vars["ETCDCTL_CERT"], KeyFile: vars["ETCDCTL_KEY"], Logger: zap.NewNop(),
	}
	tlsConfig, err := info.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading etcd's certificates: %w", err)
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: strings.Split(vars["ETCDCTL_ENDPOINTS"], ","), TLS: tlsConfig, DialTimeout: 10 * time.Second,
		MaxCallRecvMsgSize: math.MaxInt32, Logger: zap.NewNop(), Context: ctx,
	})
	if err != nil {
		return nil, fmt.Errorf("connecting to etcd: %w", err)
	}
	return client, nil
}

// drainStream is the least that reading everything by RangeStream can be: pin a revision, receive, count.
func drainStream(ctx context.Context, _ []string, stdout io.Writer) error {
	client, err := openEtcd(ctx, os.Environ())
	if err != nil {
		return err
	}
	defer client.Close()
	pin, err := client.Get(ctx, registry, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return fmt.Errorf("pinning a revision: %w", err)
	}
	chunks, err := client.GetStream(ctx, registry, clientv3.WithPrefix(), clientv3.WithRev(pin.Header.Revision))
	if err != nil {
		return fmt.Errorf("reading %s: %w", registry, err)
	}
	keys, bytes := 0, 0
	for chunk := range chunks {
		if err := chunk.Err(); err != nil {
			return fmt.Errorf("reading %s: %w", registry, err)
		}
		keys += len(chunk.Kvs)
		for _, kv := range chunk.Kvs {
			bytes += len(kv.Value)
		}
	}
	_, err = fmt.Fprintln(stdout, keys, bytes)
	return err
}

// drainPages reads everything page by page, each limited by a number of keys.
func drainPages(ctx context.Context, _ []string, stdout io.Writer) error {
	client, err := openEtcd(ctx, os.Environ())
	if err != nil {
		return err
	}
	defer client.Close()
	start, end := registry, clientv3.GetPrefixRangeEnd(registry)
	keys, bytes, revision := 0, 0, int64(0)
	for more := true; more; {
		page, err := client.Get(ctx, start, clientv3.WithRange(end), clientv3.WithLimit(pageKeys), clientv3.WithRev(revision))
		if err != nil {
			return fmt.Errorf("reading from %s on: %w", start, err)
		}
		revision, more = page.Header.Revision, page.More
		keys += len(page.Kvs)
		for _, kv := range page.Kvs {
			bytes += len(kv.Value)
			start = string(kv.Key) + "\x00"
		}
	}
	_, err = fmt.Fprintln(stdout, keys, bytes)
	return err
}
