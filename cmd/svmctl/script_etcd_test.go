package main

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/svmctl/svmctl/internal/etcdscan/etcdtest"
)

// harness is what the commands of one script share.
type harness struct {
	t      testing.TB
	server *etcdtest.Server
}

func harnessOf(ts *testscript.TestScript) *harness { return ts.Value(harness{}).(*harness) }

type scriptCommand = func(ts *testscript.TestScript, neg bool, args []string)

// etcdCommands are the commands by which a script prepares its own etcd.
func etcdCommands() map[string]scriptCommand {
	return map[string]scriptCommand{
		// etcd: starts one, its endpoint is $ETCD.
		"etcd": exactly(0, func(ts *testscript.TestScript, h *harness, _ []string) {
			h.start(ts, nil)
		}),
		// etcd-tcp: starts one that listens on $ETCD and $ADDRESS, without TLS.
		"etcd-tcp": exactly(0, func(ts *testscript.TestScript, h *harness, _ []string) {
			h.start(ts, func(cfg *embed.Config) { listen(ts, cfg, "http") })
		}),
		// etcd-tls: starts one that listens on $ETCD and wants client certificates; see writeCertificates for the files.
		"etcd-tls": exactly(0, func(ts *testscript.TestScript, h *harness, _ []string) {
			writeCertificates(ts)
			h.start(ts, func(cfg *embed.Config) {
				listen(ts, cfg, "https")
				cfg.ClientTLSInfo.CertFile, cfg.ClientTLSInfo.KeyFile = ts.MkAbs("tls/server.crt"), ts.MkAbs("tls/server.key")
				cfg.ClientTLSInfo.TrustedCAFile, cfg.ClientTLSInfo.ClientCertAuth = ts.MkAbs("tls/ca.crt"), true
			})
		}),
		// etcd-put KEY FILE: the content without the newline at its end.
		"etcd-put": exactly(2, func(ts *testscript.TestScript, h *harness, args []string) {
			h.server.Put(h.t, unquote(ts, args[0]), strings.TrimSuffix(ts.ReadFile(args[1]), "\n"))
		}),
		// etcd-quoted KEY VALUE: with escapes as in Go.
		"etcd-quoted": exactly(2, func(ts *testscript.TestScript, h *harness, args []string) {
			h.server.Put(h.t, unquote(ts, args[0]), unquote(ts, args[1]))
		}),
		// etcd-sealed KEY TRANSFORMER: a ciphertext, e.g. under aescbc:v1:key1 or kms:v2:vault:kek-1.
		"etcd-sealed": exactly(2, func(ts *testscript.TestScript, h *harness, args []string) {
			h.server.Put(h.t, args[0], sealed(unquote(ts, args[1])))
		}),
		// etcd-many PREFIX N TRANSFORMER: N ciphertexts.
		"etcd-many": exactly(3, func(ts *testscript.TestScript, h *harness, args []string) {
			n, err := strconv.Atoi(args[1])
			ts.Check(err)
			for i := range n {
				h.server.Put(h.t, fmt.Sprintf("%s/%06d", args[0], i), sealed(args[2]))
			}
		}),
		"etcd-delete": exactly(1, func(ts *testscript.TestScript, h *harness, args []string) {
			_, err := h.server.Client.Delete(h.t.Context(), args[0])
			ts.Check(err)
		}),
		"etcd-compact": exactly(1, func(ts *testscript.TestScript, h *harness, args []string) {
			revision, err := strconv.ParseInt(args[0], 10, 64)
			ts.Check(err)
			_, err = h.server.Client.Compact(h.t.Context(), revision, clientv3.WithCompactPhysical())
			ts.Check(err)
		}),
		// etcd-revision VARIABLE [PLUS]: the newest one.
		"etcd-revision": func(ts *testscript.TestScript, _ bool, args []string) {
			h := harnessOf(ts)
			revision := h.server.Revision(h.t)
			if len(args) == 2 {
				plus, err := strconv.ParseInt(args[1], 10, 64)
				ts.Check(err)
				revision += plus
			}
			ts.Setenv(args[0], strconv.FormatInt(revision, 10))
		},
		// etcd-snapshot FILE: as etcdctl snapshot save.
		"etcd-snapshot": exactly(1, func(ts *testscript.TestScript, h *harness, args []string) {
			body, err := h.server.Client.Snapshot(h.t.Context())
			ts.Check(err)
			defer body.Close()
			data, err := io.ReadAll(body)
			ts.Check(err)
			ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
		}),
		// etcd-stop DIR: stops it, and copies its data directory.
		"etcd-stop": exactly(1, func(ts *testscript.TestScript, h *harness, args []string) {
			h.server.Stop()
			ts.Check(os.CopyFS(ts.MkAbs(args[0]), os.DirFS(h.server.Etcd.Config().Dir)))
		}),
		// flip FILE: changes the last byte of a snapshot in front of its digest, which belongs to nothing.
		"flip": exactly(1, func(ts *testscript.TestScript, _ *harness, args []string) {
			data := []byte(ts.ReadFile(args[0]))
			data[len(data)-33] ^= 1
			ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
		}),
		// cut-off FILE BYTES: takes so many from its end.
		"cut-off": exactly(2, func(ts *testscript.TestScript, _ *harness, args []string) {
			n, err := strconv.Atoi(args[1])
			ts.Check(err)
			data := ts.ReadFile(args[0])
			ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(data[:len(data)-n]), 0o600))
		}),
		// etcd-auth: from here on root (password "root") may do everything, and reader (password "reader") may read what
		// lies in /registry/configmaps/. No value can be put any more.
		"etcd-auth": exactly(0, func(ts *testscript.TestScript, h *harness, _ []string) { h.authenticate(ts) }),
	}
}

func exactly(n int, f func(ts *testscript.TestScript, h *harness, args []string)) scriptCommand {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != n {
			ts.Fatalf("the command takes %d arguments", n)
		}
		f(ts, harnessOf(ts), args)
	}
}

// start runs an etcd on a unix socket, and on what change adds to it.
func (h *harness) start(ts *testscript.TestScript, change func(*embed.Config)) {
	if change == nil {
		h.server = etcdtest.Start(h.t)
		ts.Setenv("ETCD", h.server.Endpoint)
		return
	}
	h.server = etcdtest.Start(h.t, change)
}

func listen(ts *testscript.TestScript, cfg *embed.Config, scheme string) {
	address := freeAddress(ts)
	u := url.URL{Scheme: scheme, Host: address}
	cfg.ListenClientUrls = append(cfg.ListenClientUrls, u)
	cfg.AdvertiseClientUrls = append(cfg.AdvertiseClientUrls, u)
	ts.Setenv("ETCD", u.String())
	ts.Setenv("ADDRESS", address)
}

func freeAddress(ts *testscript.TestScript) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	defer l.Close()
	return l.Addr().String()
}

func (h *harness) authenticate(ts *testscript.TestScript) {
	c, ctx := h.server.Client, h.t.Context()
	for _, name := range []string{"root", "reader"} {
		_, err := c.RoleAdd(ctx, name)
		ts.Check(err)
		_, err = c.UserAdd(ctx, name, name)
		ts.Check(err)
		_, err = c.UserGrantRole(ctx, name, name)
		ts.Check(err)
	}
	_, err := c.RoleGrantPermission(ctx, "reader", "/registry/configmaps/", clientv3.GetPrefixRangeEnd("/registry/configmaps/"), clientv3.PermissionType(clientv3.PermRead))
	ts.Check(err)
	_, err = c.AuthEnable(ctx)
	ts.Check(err)
	for _, name := range []string{"root", "reader", "wrong"} {
		ts.Check(os.WriteFile(ts.MkAbs(name+".password"), []byte(name+"\n"), 0o600))
	}
}

func unquote(ts *testscript.TestScript, s string) string {
	text, err := strconv.Unquote(`"` + strings.ReplaceAll(s, `"`, `\"`) + `"`)
	ts.Check(err)
	return text
}

// sealed is a value behind a transformer prefix, whose bytes no key name could go on with.
func sealed(transformer string) string {
	noise := strings.Repeat("\xff\x00\xfe\x80", 15)
	if provider, keyID, ok := strings.Cut(strings.TrimPrefix(transformer, "kms:v2:"), ":"); ok && strings.HasPrefix(transformer, "kms:v2:") {
		var b []byte
		for number, field := range map[protowire.Number]string{1: noise, 2: keyID, 3: noise[:40]} {
			b = protowire.AppendTag(b, number, protowire.BytesType)
			b = protowire.AppendString(b, field)
		}
		return "k8s:enc:kms:v2:" + provider + ":" + string(b)
	}
	if strings.HasPrefix(transformer, "kms:v1:") {
		noise = "\x00\x04" + noise
	}
	if strings.HasPrefix(transformer, "aescbc:") {
		noise = noise[:48]
	}
	return fmt.Sprintf("k8s:enc:%s:%s", transformer, noise)
}
