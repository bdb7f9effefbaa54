package plane

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/svmctl/svmctl/playground/supervisor"
)

const (
	etcdRoot   = "root"
	etcdReader = "svmctl"
	// attempt bounds one attempt to find a process ready.
	attempt = 2 * time.Second
)

func (p *Plane) etcd(executable string) supervisor.Definition {
	const member = "playground"
	client, peer := p.etcdURL(p.ports.Etcd), p.etcdURL(p.ports.EtcdPeer)
	argv := []string{
		executable, Etcd,
		"--name=" + member,
		"--data-dir=" + p.layout.etcdData(),
		"--listen-client-urls=" + client,
		"--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer,
		"--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=" + member + "=" + peer,
		// The gateway would dial etcd with the server's certificate, which --etcd-auth refuses.
		"--enable-grpc-gateway=false",
	}
	if !p.spec.NoEtcdTLS {
		server := p.certificates.etcdServer
		argv = append(argv,
			"--cert-file="+server.Cert, "--key-file="+server.Key,
			"--client-cert-auth", "--trusted-ca-file="+p.certificates.etcdCA,
			"--peer-cert-file="+server.Cert, "--peer-key-file="+server.Key,
			"--peer-client-cert-auth", "--peer-trusted-ca-file="+p.certificates.etcdCA,
		)
	}
	if !p.spec.Fsync {
		argv = append(argv, "--unsafe-no-fsync")
	}
	if p.spec.EtcdQuota != 0 {
		argv = append(argv, "--quota-backend-bytes="+strconv.FormatInt(p.spec.EtcdQuota, 10))
	}
	return supervisor.Definition{
		Name:      Etcd,
		Argv:      append(argv, given(p.spec.EtcdArgs)...),
		Env:       p.environment(),
		LogFile:   p.layout.Log(Etcd),
		Addresses: []string{address(p.ports.Etcd), address(p.ports.EtcdPeer)},
		Ready:     p.etcdReady,
		Setup:     p.setEtcdAuth,
	}
}

func (p *Plane) etcdURL(port int) string {
	if p.spec.NoEtcdTLS {
		return "http://" + address(port)
	}
	return "https://" + address(port)
}

// etcdReady asks for a linearizable read, which only an etcd with a leader answers.
func (p *Plane) etcdReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	// gRPC logs each refused connection; the client is for when somebody listens.
	connection, err := new(net.Dialer).DialContext(ctx, "tcp", address(p.ports.Etcd))
	if err != nil {
		return err
	}
	connection.Close()
	return p.withEtcd(ctx, func(client *clientv3.Client) error {
		_, err := client.Get(ctx, "health", clientv3.WithCountOnly())
		return err
	})
}

// withEtcd calls do with a client that is root by its certificate.
func (p *Plane) withEtcd(ctx context.Context, do func(*clientv3.Client) error) error {
	config := clientv3.Config{
		Context:   ctx,
		Endpoints: []string{p.etcdURL(p.ports.Etcd)},
		Logger:    zap.NewNop(),
	}
	if !p.spec.NoEtcdTLS {
		files := p.certificates.apiserverEtcdClient
		certificate, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		if err != nil {
			return fmt.Errorf("loading %s: %w", files.Cert, err)
		}
		roots, err := certPool(p.certificates.etcdCA)
		if err != nil {
			return err
		}
		config.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: roots}
	}
	client, err := clientv3.New(config)
	if err != nil {
		return fmt.Errorf("connecting to etcd: %w", err)
	}
	defer client.Close()
	return do(client)
}

// setEtcdAuth turns etcd's user authentication on or off, as the spec wants it.
func (p *Plane) setEtcdAuth(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return p.withEtcd(ctx, func(client *clientv3.Client) error {
		status, err := client.AuthStatus(ctx)
		if err != nil {
			return fmt.Errorf("reading etcd's authentication status: %w", err)
		}
		switch {
		case status.Enabled == p.spec.EtcdAuth:
			return nil
		case status.Enabled:
			if _, err := client.AuthDisable(ctx); err != nil {
				return fmt.Errorf("turning etcd's authentication off: %w", err)
			}
			return nil
		}
		return p.enableEtcdAuth(ctx, client)
	})
}

func (p *Plane) enableEtcdAuth(ctx context.Context, client *clientv3.Client) error {
	passwords := map[string]string{}
	for _, user := range []string{etcdRoot, etcdReader} {
		data, err := os.ReadFile(p.layout.EtcdPassword(user))
		if err != nil {
			return fmt.Errorf("reading password of etcd user %s: %w", user, err)
		}
		passwords[user] = string(data)
	}
	for _, step := range []func() error{
		func() error { _, err := client.RoleAdd(ctx, etcdRoot); return err },
		func() error { _, err := client.RoleAdd(ctx, etcdReader); return err },
		func() error {
			// From the zero byte on, with the zero byte as range end: every key there is.
			_, err := client.RoleGrantPermission(ctx, etcdReader, "\x00", "\x00", clientv3.PermissionType(clientv3.PermRead))
			return err
		},
		func() error { _, err := client.UserAdd(ctx, etcdRoot, passwords[etcdRoot]); return err },
		func() error { _, err := client.UserAdd(ctx, etcdReader, passwords[etcdReader]); return err },
		func() error { _, err := client.UserGrantRole(ctx, etcdRoot, etcdRoot); return err },
		func() error { _, err := client.UserGrantRole(ctx, etcdReader, etcdReader); return err },
		func() error { _, err := client.AuthEnable(ctx); return err },
	} {
		err := step()
		if err != nil && !errors.Is(err, rpctypes.ErrUserAlreadyExist) && !errors.Is(err, rpctypes.ErrRoleAlreadyExist) {
			return fmt.Errorf("turning etcd's authentication on: %w", err)
		}
	}
	return nil
}

// writeEtcdPasswords keeps passwords that are there: etcd has them in its data.
func (p *Plane) writeEtcdPasswords() error {
	for _, user := range []string{etcdRoot, etcdReader} {
		path := p.layout.EtcdPassword(user)
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if err := writeFile(path, []byte(rand.Text()), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func certPool(path string) (*x509.CertPool, error) {
	bundle, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bundle) {
		return nil, fmt.Errorf("reading %s: no certificate", path)
	}
	return pool, nil
}
