package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	inFlight         = 16 // svmctl's default
	secretNamespaces = 10
	secretsPrefix    = registry + "secrets/"
	// tableAccept and patchQuery are what svmctl itself sends.
	tableAccept = "application/json;as=Table;g=meta.k8s.io;v=v1"
	patchQuery  = "?fieldManager=svmctl&includeObject=None"
)

// apiserver sends plain requests with the credentials of KUBECONFIG.
type apiserver struct {
	client *http.Client
	host   string
}

func openAPIServer() (*apiserver, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to the apiserver: %w", err)
	}
	return &apiserver{client: client, host: strings.TrimSuffix(cfg.Host, "/")}, nil
}

// send sends one request and reads its answer to the end.
func (a *apiserver) send(ctx context.Context, method, path, contentType, accept string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, method, a.host+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept", accept)
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode > 299 {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return nil
}

// each calls f for 0 to n-1, inFlight at a time, until one fails.
func each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range inFlight {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := f(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// createSecrets creates as many secrets as its argument says, through the apiserver.
func createSecrets(ctx context.Context, args []string, _ io.Writer) error {
	if len(args) != 1 {
		return fmt.Errorf("creating secrets: want one argument, the number of them")
	}
	count, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("creating secrets: %w", err)
	}
	api, err := openAPIServer()
	if err != nil {
		return err
	}
	const json = "application/json"
	for i := range secretNamespaces {
		body := fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"team-%d"}}`, i)
		if err := api.send(ctx, http.MethodPost, "/api/v1/namespaces", json, json, body); err != nil {
			return fmt.Errorf("creating a namespace: %w", err)
		}
	}
	random := rand.NewChaCha8([32]byte{})
	data := make([]byte, payloadBytes)
	random.Read(data)
	encoded := base64.StdEncoding.EncodeToString(data)
	return each(ctx, count, func(ctx context.Context, i int) error {
		body := fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"credentials-%06d"},"data":{"token":%q}}`, i, encoded)
		path := fmt.Sprintf("/api/v1/namespaces/team-%d/secrets", i%secretNamespaces)
		return api.send(ctx, http.MethodPost, path, json, json, body)
	})
}

// patchSecrets is the least that rewriting all secrets can be: take names and revisions from etcd, and send the patch
// that svmctl sends, without looking at what comes back but for its status.
func patchSecrets(ctx context.Context, _ []string, stdout io.Writer) error {
	etcd, err := openEtcd(ctx, os.Environ())
	if err != nil {
		return err
	}
	defer etcd.Close()
	list, err := etcd.Get(ctx, secretsPrefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return fmt.Errorf("listing secrets: %w", err)
	}
	api, err := openAPIServer()
	if err != nil {
		return err
	}
	err = each(ctx, len(list.Kvs), func(ctx context.Context, i int) error {
		namespace, name, _ := strings.Cut(strings.TrimPrefix(string(list.Kvs[i].Key), secretsPrefix), "/")
		body := fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Secret","metadata":{"resourceVersion":"%d"}}`, list.Kvs[i].ModRevision)
		path := "/api/v1/namespaces/" + namespace + "/secrets/" + name + patchQuery
		return api.send(ctx, http.MethodPatch, path, "application/merge-patch+json", tableAccept, body)
	})
	if err != nil {
		return fmt.Errorf("patching secrets: %w", err)
	}
	_, err = fmt.Fprintln(stdout, len(list.Kvs))
	return err
}
