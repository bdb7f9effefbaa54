package plane

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/svmctl/svmctl/playground/supervisor"
)

// ReloadIntervalEnv names the environment variable by which a playground's kube-apiserver takes
// the pause between two looks at its EncryptionConfiguration, a Go duration. Unset, it is
// Kubernetes' own minute.
const ReloadIntervalEnv = "PLAYGROUND_ENCRYPTION_RELOAD_INTERVAL"

const (
	serviceRange = "10.96.0.0/16"
	// serviceIP is the first of the range, which the apiserver takes for itself.
	serviceIP = "10.96.0.1"
	// bodyLimit bounds what is read of an answer to a readiness check.
	bodyLimit = 16 << 10
)

// auditPolicy records who did what, and no request or response body.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

func (p *Plane) apiserver(executable string, a apiserver) supervisor.Definition {
	certs := p.certificates
	argv := []string{
		executable, APIServer,
		"--bind-address=" + a.ip,
		"--secure-port=" + strconv.Itoa(a.port),
		"--advertise-address=" + a.advertise,
		"--etcd-servers=" + p.etcdURL(p.ports.Etcd),
		"--etcd-prefix=" + p.spec.EtcdPrefix,
		"--tls-cert-file=" + certs.apiserver.Cert,
		"--tls-private-key-file=" + certs.apiserver.Key,
		"--client-ca-file=" + certs.ca,
		"--token-auth-file=" + p.layout.tokens(),
		"--authorization-mode=RBAC",
		// Without the controller that makes service accounts no pod could be created with it.
		"--disable-admission-plugins=ServiceAccount",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + certs.serviceAccountPublic,
		"--service-account-signing-key-file=" + certs.serviceAccountPrivate,
		"--service-cluster-ip-range=" + serviceRange,
		// By default a stopping apiserver waits a minute for the controller manager's watches to end.
		"--shutdown-watch-termination-grace-period=2s",
	}
	if !p.spec.NoEtcdTLS {
		argv = append(argv,
			"--etcd-cafile="+certs.etcdCA,
			"--etcd-certfile="+certs.apiserverEtcdClient.Cert,
			"--etcd-keyfile="+certs.apiserverEtcdClient.Key,
		)
	}
	if !a.announced {
		argv = append(argv, "--endpoint-reconciler-type=none")
	}
	var further []string
	if a.encryption != "" {
		argv = append(argv,
			"--encryption-provider-config="+a.encryption,
			"--encryption-provider-config-automatic-reload=true",
		)
		if p.spec.EncryptionReloadInterval > 0 {
			further = append(further, ReloadIntervalEnv+"="+p.spec.EncryptionReloadInterval.String())
		}
	}
	if p.spec.AuditLog {
		argv = append(argv,
			"--audit-policy-file="+p.layout.auditPolicy(),
			"--audit-log-path="+p.layout.auditLog(a.name),
			"--audit-log-format=json",
		)
	}
	return supervisor.Definition{
		Name:      a.name,
		Hostname:  a.hostname,
		Argv:      append(argv, migrationIn(release()).apiserverFlags(given(p.spec.APIServerArgs))...),
		Env:       p.environment(further...),
		LogFile:   p.layout.Log(a.name),
		Addresses: []string{a.address()},
		Ready: func(ctx context.Context) error {
			return p.apiserverReady(ctx, a)
		},
	}
}

func (p *Plane) controllerManager(executable string) supervisor.Definition {
	certs := p.certificates
	argv := []string{
		executable, ControllerManager,
		"--bind-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(p.ports.ControllerManager),
		"--tls-cert-file=" + certs.controllerManager.Cert,
		"--tls-private-key-file=" + certs.controllerManager.Key,
		"--kubeconfig=" + p.layout.controllerManagerKubeconfig(),
		"--authentication-kubeconfig=" + p.layout.controllerManagerKubeconfig(),
		"--authorization-kubeconfig=" + p.layout.controllerManagerKubeconfig(),
		"--controllers=storage-version-migrator-controller,garbage-collector-controller",
		"--leader-elect=false",
	}
	return supervisor.Definition{
		Name:      ControllerManager,
		Argv:      append(argv, migrationIn(release()).controllerManagerFlags(given(p.spec.ControllerManagerArgs))...),
		Env:       p.environment(),
		LogFile:   p.layout.Log(ControllerManager),
		Addresses: []string{address(p.ports.ControllerManager)},
		Ready: func(ctx context.Context) error {
			return p.probe(ctx, address(p.ports.ControllerManager), "/healthz")
		},
	}
}

// apiserverReady wants more than /readyz: the namespace default, which is made in the
// background, and the roles that every cluster starts with.
func (p *Plane) apiserverReady(ctx context.Context, a apiserver) error {
	return p.probe(ctx, a.address(),
		"/readyz",
		"/api/v1/namespaces/default",
		"/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin",
	)
}

// probe wants 200 from each path, asked as admin.
func (p *Plane) probe(ctx context.Context, address string, paths ...string) error {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	roots, err := certPool(p.certificates.ca)
	if err != nil {
		return err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	for _, path := range paths {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+path, nil)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+p.tokens[adminUser])
		response, err := transport.RoundTrip(request)
		if err != nil {
			return fmt.Errorf("asking for %s: %w", path, err)
		}
		body, err := io.ReadAll(io.LimitReader(response.Body, bodyLimit))
		response.Body.Close()
		if err != nil {
			return fmt.Errorf("asking for %s: %w", path, err)
		}
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("asking for %s: %s: %s", path, response.Status, complaint(body))
		}
	}
	return nil
}

// complaint is what an answer says is wrong: of a list of checks those that failed, else all of it.
func complaint(body []byte) string {
	var failed []string
	for line := range strings.Lines(string(body)) {
		if check, ok := strings.CutPrefix(line, "[-]"); ok {
			failed = append(failed, strings.TrimSpace(check))
		}
	}
	if len(failed) == 0 {
		return strings.TrimSpace(string(body))
	}
	return strings.Join(failed, ", ")
}
