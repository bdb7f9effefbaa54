package node

import (
	"reflect"
	"testing"
	"testing/fstest"
)

const k3sServer = "/var/lib/rancher/k3s/server"

// with is a k3s server that runs, with the files added to it.
func with(files map[string]string) fstest.MapFS {
	host := fstest.MapFS{k3sServer[1:] + "/tls/etcd/client.crt": {}}
	for name, content := range files {
		host[name[1:]] = &fstest.MapFile{Data: []byte(content)}
	}
	return host
}

func TestWhereK3sKeepsItsObjects(t *testing.T) {
	const (
		config = "/etc/rancher/k3s/config.yaml"
		socket = k3sServer + "/kine.sock"
		wal    = k3sServer + "/db/etcd/member/wal/0.wal"
		unit   = "/etc/systemd/system/k3s.service"
	)
	own := []string{k3sServer + "/tls/etcd/server-ca.crt", k3sServer + "/tls/etcd/client.crt", k3sServer + "/tls/etcd/client.key"}
	none := []string{"", "", ""}
	for _, c := range []struct {
		name      string
		files     map[string]string
		endpoints []string
		certs     []string
		warnings  []string
	}{
		{"kine", map[string]string{socket: ""}, []string{"unix://" + socket}, none, nil},
		{"kine with TLS", map[string]string{socket: "", config: "kine-tls: true\n"}, []string{"unixs://" + socket}, []string{own[0], "", ""}, nil},
		{"its own etcd", map[string]string{wal: "", socket: ""}, []string{"https://127.0.0.1:2379"}, own, nil},
		{
			"its own etcd, whatever is configured", map[string]string{wal: "", config: "datastore-endpoint: https://10.0.0.1:2379\n"},
			[]string{"https://127.0.0.1:2379"}, own, nil,
		},
		{"the etcd of other servers", map[string]string{config: "disable-etcd: true\n"}, []string{"https://127.0.0.1:2379"}, own, nil},
		{
			"IPv6 alone", map[string]string{wal: "", config: "service-cidr: fd00:43::/112\n"},
			[]string{"https://[::1]:2379"}, own, nil,
		},
		{
			"IPv6 and IPv4", map[string]string{wal: "", config: "service-cidr: 'fd00:43::/112,10.43.0.0/16'\n"},
			[]string{"https://127.0.0.1:2379"}, own, nil,
		},
		{
			"etcd elsewhere", map[string]string{
				config:  "datastore-endpoint: https://10.0.0.1:2379,https://10.0.0.2:2379\ndatastore-cafile: /e/ca\ndatastore-certfile: /e/crt\ndatastore-keyfile: /e/key\n",
				"/e/ca": "", "/e/crt": "", "/e/key": "",
			},
			[]string{"https://10.0.0.1:2379", "https://10.0.0.2:2379"}, []string{"/e/ca", "/e/crt", "/e/key"}, nil,
		},
		{
			"etcd elsewhere, by relative paths", map[string]string{config: "datastore-endpoint: http://10.0.0.1:2379\ndatastore-cafile: ca\n"},
			[]string{"http://10.0.0.1:2379"}, none, []string{"the options of k3s: --etcd-cafile is no absolute path, ignored"},
		},
		{
			"another kine", map[string]string{config: "datastore-endpoint: unix:///run/kine.sock\n", socket: ""},
			[]string{"unix:///run/kine.sock"}, none, nil,
		},
		{
			"a database", map[string]string{config: "datastore-endpoint: mysql://u:p@tcp(db:3306)/k3s\n", socket: ""},
			[]string{"unix://" + socket}, none, nil,
		},
		{
			"a database, of a unit", map[string]string{
				unit: "[Service]\nEnvironmentFile=-/etc/default/%N\nExecStart=/usr/bin/k3s server\n", "/etc/default/k3s": "K3S_DATASTORE_ENDPOINT='http://10.0.0.1:2379'\n",
			},
			[]string{"http://10.0.0.1:2379"}, none, nil,
		},
		{"nothing that runs", nil, nil, none, []string{socket + " is not there: k3s is not running"}},
		{
			"flags of the apiserver", map[string]string{
				socket: "", "/e/ca": "",
				config: "kube-apiserver-arg: [etcd-servers=https://10.0.0.9:2379, '--etcd-cafile=/e/ca']\n",
			},
			[]string{"https://10.0.0.9:2379"}, []string{"/e/ca", "", ""}, nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Find(with(c.files))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got.Endpoints, c.endpoints) || !reflect.DeepEqual([]string{got.CACert, got.Cert, got.Key}, c.certs) ||
				!reflect.DeepEqual(got.Warnings, c.warnings) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestOptionsOfK3s(t *testing.T) {
	const elsewhere = "srv/k3s/server/tls/x"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  Facts
	}{
		{
			"a later file replaces, and adds where it says so", map[string]string{
				"etc/rancher/k3s/config.yaml": "kube-apiserver-arg: etcd-prefix=/a\n" +
					"data-dir: /nowhere\n",
				"etc/rancher/k3s/config.yaml.d/1.yaml": "kube-apiserver-arg: [etcd-prefix=/b]\ndata-dir: /srv/k3s\n",
				"etc/rancher/k3s/config.yaml.d/2.YML":  "kube-apiserver-arg+: [etcd-servers-overrides+=/events#http://a:1]\n",
				"etc/rancher/k3s/config.yaml.d/3.txt":  "data-dir: /nowhere\n",
			},
			Facts{
				Files: []string{
					"/etc/rancher/k3s/config.yaml", "/etc/rancher/k3s/config.yaml.d/1.yaml", "/etc/rancher/k3s/config.yaml.d/2.YML",
				},
				Prefixes: []string{"/b"}, Overrides: []Override{{"events", []string{"http://a:1"}}},
			},
		},
		{
			"the command line, another configuration file, and what is dropped in", map[string]string{
				"usr/lib/systemd/system/k3s.service": "[Unit]\nExecStart=no\n[Service]\n# ExecStart=no\nExecStart=/usr/bin/k3s server -c /srv/config \\\n  --data-dir /nowhere\n",
				"etc/systemd/system/k3s.service.d/override.conf": "[Service]\nEnvironment=\"K3S_KUBECONFIG_OUTPUT=/srv/admin conf\" K3S_DATA_DIR=/no\n" +
					"ExecStart=\nExecStart=/usr/bin/k3s server --config=/srv/config -d /srv/k3s '--kube-apiserver-arg' encryption-provider-config=/srv/enc --secrets-encryption\n",
				"srv/config": "kube-apiserver-arg: etcd-prefix=/a\nhttps-listen-port: 6443\ndebug: true\n", "srv/admin conf": "", "srv/enc": "",
				"srv/k3s/server/cred/encryption-config.json": "",
			},
			Facts{
				Files:      []string{"/srv/config", "/usr/lib/systemd/system/k3s.service", "/etc/systemd/system/k3s.service.d/override.conf"},
				Kubeconfig: "/srv/admin conf", Prefixes: []string{"/a"}, EncryptionConfig: "/srv/enc", EncryptionTold: true, OverridesTold: true,
			},
		},
		{
			"encryption that no option turns on", map[string]string{
				"etc/systemd/system/k3s.service":             "[Service]\nEnvironment=K3S_DATA_DIR=/srv/k3s\nExecStart=/usr/bin/k3s server\n",
				"srv/k3s/server/cred/encryption-config.json": "",
			},
			Facts{
				Files:            []string{"/etc/systemd/system/k3s.service"},
				EncryptionConfig: "/srv/k3s/server/cred/encryption-config.json", EncryptionTold: true, OverridesTold: true,
				Warnings: []string{"/srv/k3s/server/cred/encryption-config.json is there, but no option has k3s encrypt"},
			},
		},
		{
			"a command out of the environment", map[string]string{
				"etc/systemd/system/k3s.service": "[Service]\nExecStart=/usr/bin/k3s server --data-dir=/srv/k3s $ARGS\n",
			},
			Facts{Files: []string{"/etc/systemd/system/k3s.service"}},
		},
		{
			"variables that are elsewhere", map[string]string{
				"etc/systemd/system/k3s.service": "[Service]\nEnvironmentFile=/etc/k3s.env\nExecStart=/usr/bin/k3s server --data-dir=/srv/k3s\n",
			},
			Facts{Files: []string{"/etc/systemd/system/k3s.service"}},
		},
		{
			"no apiserver", map[string]string{
				"etc/systemd/system/k3s.service": "[Service]\nExecStart=/usr/bin/k3s server --data-dir=/srv/k3s --disable-apiserver\n",
			},
			Facts{Files: []string{"/etc/systemd/system/k3s.service"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := fstest.MapFS{elsewhere: {}, "srv/k3s/server/kine.sock": {}}
			for name, content := range c.files {
				host[name] = &fstest.MapFile{Data: []byte(content)}
			}
			c.want.Distribution, c.want.Endpoints = K3s, []string{"unix:///srv/k3s/server/kine.sock"}
			got, err := Find(host)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}

func TestRKE2WithoutAnApiserver(t *testing.T) {
	got, err := Find(fstest.MapFS{
		"srv/rke2/server/tls/etcd/client.crt":           {},
		"srv/rke2/server/db/etcd/member/wal/0.wal":      {},
		"srv/rke2/agent/pod-manifests/etcd.yaml":        {Data: []byte("kind: Pod\nspec: {containers: [{name: etcd, command: [etcd]}]}\n")},
		"etc/rancher/rke2/config.yaml":                  {Data: []byte("data-dir: /srv/rke2\ndisable-apiserver: true\n")},
		"usr/lib/systemd/system/rke2-server.service":    {Data: []byte("[Service]\nExecStart=/usr/bin/rke2 server\n")},
		"var/lib/rancher/rke2/agent/pod-manifests/left": {Data: []byte("a: b: c")},
	})
	want := Facts{
		Distribution: RKE2,
		Files:        []string{"/etc/rancher/rke2/config.yaml", "/usr/lib/systemd/system/rke2-server.service"},
		Endpoints:    []string{"https://127.0.0.1:2379"},
		CACert:       "/srv/rke2/server/tls/etcd/server-ca.crt",
		Cert:         "/srv/rke2/server/tls/etcd/client.crt",
		Key:          "/srv/rke2/server/tls/etcd/client.key",
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

func TestRKE2WithADatabase(t *testing.T) {
	const dir = "/var/lib/rancher/rke2/server"
	manifest := apiserver(t, []string{"kube-apiserver", "--etcd-servers=unixs://" + dir + "/kine.sock", "--etcd-cafile=" + dir + "/tls/etcd/server-ca.crt"},
		`{volumeMounts: [{name: dir0, mountPath: `+dir+`}], volumes: [{name: dir0, hostPath: {path: `+dir+`}}]}`)
	got, err := Find(fstest.MapFS{
		"var/lib/rancher/rke2/agent/pod-manifests/kube-apiserver.yaml": {Data: manifest},
		dir[1:] + "/tls/etcd/server-ca.crt":                            {},
	})
	if err != nil || got.Distribution != RKE2 || !reflect.DeepEqual(got.Endpoints, []string{"unixs://" + dir + "/kine.sock"}) ||
		got.CACert != dir+"/tls/etcd/server-ca.crt" || got.Warnings != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestOptionsThatCannotBeUnderstood(t *testing.T) {
	for want, file := range map[string]string{
		"parsing /etc/rancher/k3s/config.yaml: not a mapping of options":    "- a\n",
		"reading the options of k3s: data-dir is no absolute path":          "data-dir: srv\n",
		"reading the options of k3s: data-dir is no absolute path (escape)": "data-dir: \"/a\\e[2J\"\n",
	} {
		_, err := Find(with(map[string]string{"/etc/rancher/k3s/config.yaml": file}))
		if err == nil || err.Error() != want && err.Error()+" (escape)" != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}
