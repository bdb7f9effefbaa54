package node

import (
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"sigs.k8s.io/yaml"
)

const manifestFile = "/etc/kubernetes/manifests/kube-apiserver.yaml"

// apiserver is a manifest whose container has the command and the volumes, written as YAML.
func apiserver(t *testing.T, command []string, volumes string) []byte {
	t.Helper()
	var p struct {
		Kind     string         `json:"kind"`
		Metadata map[string]any `json:"metadata"`
		Spec     map[string]any `json:"spec"`
	}
	if err := yaml.Unmarshal([]byte(volumes), &p.Spec); err != nil {
		t.Fatal(err)
	}
	p.Kind, p.Metadata = "Pod", map[string]any{"name": "kube-apiserver"}
	c := map[string]any{"name": "kube-apiserver", "command": command, "volumeMounts": p.Spec["volumeMounts"]}
	delete(p.Spec, "volumeMounts")
	if p.Spec == nil {
		p.Spec = make(map[string]any)
	}
	p.Spec["containers"] = []any{c}
	content, err := yaml.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags []string
		want  Facts
	}{
		{
			"in one word", []string{"--etcd-servers=http://10.0.0.1:2379", "--etcd-prefix=/other/"},
			Facts{Endpoints: []string{"http://10.0.0.1:2379"}, Prefixes: []string{"/other"}},
		},
		{
			"in two words", []string{"--etcd-servers", "http://10.0.0.1:2379", "--secure-port", "6443", "--etcd-prefix", "other"},
			Facts{Endpoints: []string{"http://10.0.0.1:2379"}, Prefixes: []string{"/other"}},
		},
		{
			"with underscores", []string{"--etcd_servers=https://10.0.0.1:2379"},
			Facts{Endpoints: []string{"https://10.0.0.1:2379"}},
		},
		{
			"the last of one value, and all of a list",
			[]string{"--etcd-prefix=/a", "--etcd-servers=https://10.0.0.1:2379,https://10.0.0.2:2379", "--etcd-prefix=/b", "--etcd-servers=https://10.0.0.3:2379"},
			Facts{Endpoints: []string{"https://10.0.0.1:2379", "https://10.0.0.2:2379", "https://10.0.0.3:2379"}, Prefixes: []string{"/b"}},
		},
		{
			"addresses of every form",
			[]string{"--etcd-servers=http://etcd:2379,unix:///run/etcd/a.sock,unixs:///run/etcd/b.sock,127.0.0.1:2379,https://[::1]:2379"},
			Facts{Endpoints: []string{"http://etcd:2379", "unix:///host/etcd/a.sock", "unixs:///host/etcd/b.sock", "127.0.0.1:2379", "https://[::1]:2379"}},
		},
		{
			"what is no address of the host",
			[]string{"--etcd-servers=https://$(HOST_IP):2379,unix://a.sock,unix:///image/a.sock,unix:/run/etcd/a.sock,https://,ftp://a:1,etcd,https://u:p@a:2379,https://a\t:1,https://a:2379"},
			Facts{Endpoints: []string{"https://a:2379"}, Warnings: []string{manifestFile + ": --etcd-servers has what is no address, left out"}},
		},
		{
			"nothing of etcd", []string{"--secure-port=6443"},
			Facts{Warnings: []string{manifestFile + ": no --etcd-servers"}},
		},
		{
			"no value", []string{"--etcd-servers=http://a:1", "--encryption-provider-config=", "--etcd-cafile"},
			Facts{Endpoints: []string{"http://a:1"}, Warnings: []string{
				manifestFile + ": --etcd-cafile is empty, ignored", manifestFile + ": --encryption-provider-config is empty, ignored",
			}},
		},
		{
			"paths that are none",
			[]string{"--etcd-servers=http://a:1", "--etcd-cafile=pki/ca.crt", "--etcd-certfile=/run/etcd/$(NAME).crt", "--etcd-keyfile=/run/etcd/a\x1b[2J.key"},
			Facts{Endpoints: []string{"http://a:1"}, Warnings: []string{
				manifestFile + ": --etcd-cafile is no absolute path, ignored", manifestFile + ": --etcd-certfile is no absolute path, ignored",
				manifestFile + ": --etcd-keyfile is no absolute path, ignored",
			}},
		},
		{
			"prefixes", []string{"--etcd-servers=http://a:1", "--etcd-prefix=../registry//"},
			Facts{Endpoints: []string{"http://a:1"}, Prefixes: []string{"/registry"}},
		},
		{
			"a prefix out of the environment", []string{"--etcd-servers=http://a:1", "--etcd-prefix=$(PREFIX)"},
			Facts{Endpoints: []string{"http://a:1"}, Warnings: []string{manifestFile + ": --etcd-prefix cannot be understood, ignored"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.want.Distribution, c.want.Files, c.want.OverridesTold, c.want.EncryptionTold = StaticManifest, []string{manifestFile}, true, true
			got, err := Find(fstest.MapFS{manifestFile[1:]: {Data: apiserver(t, append([]string{"kube-apiserver"}, c.flags...), `{
				volumeMounts: [{name: run, mountPath: /run/etcd}], volumes: [{name: run, hostPath: {path: /host/etcd}}]}`)}})
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}

func TestOverrides(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []string
		want   []Override
		told   bool
	}{
		{"none", nil, nil, true},
		{"of the core group", []string{"/events#https://a:2379"}, []Override{{"events", []string{"https://a:2379"}}}, true},
		{"of a group", []string{"apps/deployments#https://a:2379"}, []Override{{"deployments.apps", []string{"https://a:2379"}}}, true},
		{
			"several in one flag", []string{"/pods#http://a:1;http://b:2,apps/daemonsets#http://c:3"},
			[]Override{{"pods", []string{"http://a:1", "http://b:2"}}, {"daemonsets.apps", []string{"http://c:3"}}}, true,
		},
		{
			"several flags", []string{"/pods#http://a:1", "/events#http://b:2"},
			[]Override{{"pods", []string{"http://a:1"}}, {"events", []string{"http://b:2"}}}, true,
		},
		{"quoted as CSV", []string{`"/pods#http://a:1"`}, []Override{{"pods", []string{"http://a:1"}}}, true},
		{"a badly quoted list", []string{`/pods#"http://a:1"`, "/events#http://a:1"}, []Override{{"events", []string{"http://a:1"}}}, false},
		{"servers with commas", []string{"/events#http://a:1,http://b:2"}, []Override{{"events", []string{"http://a:1"}}}, false},
		{"no servers", []string{"/events"}, nil, false},
		{"an empty server", []string{"/events#http://a:1;"}, nil, false},
		{"no group", []string{"events#http://a:1"}, nil, false},
		{"a version", []string{"apps/v1/deployments#http://a:1"}, nil, false},
		{"no resource", []string{"apps/#http://a:1"}, nil, false},
		{"a server out of the environment", []string{"/events#http://$(IP):1"}, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			command := []string{"kube-apiserver", "--etcd-servers=http://a:1"}
			for _, value := range c.values {
				command = append(command, "--etcd-servers-overrides="+value)
			}
			got, err := Find(fstest.MapFS{manifestFile[1:]: {Data: apiserver(t, command, "{}")}})
			if err != nil || !reflect.DeepEqual(got.Overrides, c.want) || got.OverridesTold != c.told {
				t.Errorf("%+v, %v", got, err)
			}
			if warned := len(got.Warnings) > 0; warned == c.told {
				t.Errorf("warnings %q", got.Warnings)
			}
		})
	}
}

func TestPathsAreTheHosts(t *testing.T) {
	const volumes = `
volumeMounts:
- {name: root, mountPath: /etc}
- {name: pki, mountPath: /etc/pki/}
- {name: sub, mountPath: /etc/sub, subPath: a/b}
- {name: file, mountPath: /etc/one.crt}
- {name: projected, mountPath: /etc/projected}
- {name: sub, mountPath: /etc/expr, subPathExpr: $(NODE)}
- {name: sub, mountPath: /etc/up, subPath: ../../secret}
- {name: nowhere, mountPath: /etc/nowhere}
- {name: relative, mountPath: /etc/relative}
- {name: empty, mountPath: /etc/empty}
volumes:
- {name: root, hostPath: {path: /host/etc}}
- {name: pki, hostPath: {path: /host/pki/}}
- {name: sub, hostPath: {path: /host/sub}}
- {name: file, hostPath: {path: /host/files/two.crt, type: File}}
- {name: projected, projected: {sources: [{secret: {name: etcd}}]}}
- {name: relative, hostPath: {path: host/relative}}
- {name: empty, hostPath: {}}
`
	const inImage = " inside the container, which is no file of the host"
	for _, c := range []struct{ in, want, warning string }{
		{"/etc/ca.crt", "/host/etc/ca.crt", ""},
		{"/etc/pki/ca.crt", "/host/pki/ca.crt", ""},
		{"/etc/pki/../pki/./ca.crt", "/host/pki/ca.crt", ""},
		{"/etc/pkix/ca.crt", "/host/etc/pkix/ca.crt", ""},
		{"/etc/sub/ca.crt", "/host/sub/a/b/ca.crt", ""},
		{"/etc/one.crt", "/host/files/two.crt", ""},
		{"/etc/missing.crt", "/host/etc/missing.crt", "names /host/etc/missing.crt, which is not there"},
		{"/usr/ca.crt", "", "names /usr/ca.crt" + inImage},
		{"/etc/projected/ca.crt", "", "names /etc/projected/ca.crt" + inImage},
		{"/etc/expr/ca.crt", "", "names /etc/expr/ca.crt" + inImage},
		{"/etc/up/ca.crt", "", "names /etc/up/ca.crt" + inImage},
		{"/etc/nowhere/ca.crt", "", "names /etc/nowhere/ca.crt" + inImage},
		{"/etc/relative/ca.crt", "", "names /etc/relative/ca.crt" + inImage},
		{"/etc/empty/ca.crt", "", "names /etc/empty/ca.crt" + inImage},
	} {
		command := []string{"kube-apiserver", "--etcd-servers=http://a:1", "--encryption-provider-config=" + c.in}
		host := fstest.MapFS{manifestFile[1:]: {Data: apiserver(t, command, volumes)}}
		if c.want != "" && c.warning == "" {
			host[c.want[1:]] = &fstest.MapFile{}
		}
		var warnings []string
		if c.warning != "" {
			warnings = []string{manifestFile + ": --encryption-provider-config " + c.warning}
		}
		got, err := Find(host)
		if err != nil || got.EncryptionConfig != c.want || got.EncryptionTold != (c.want != "") || !reflect.DeepEqual(got.Warnings, warnings) {
			t.Errorf("%s: %+v, %v", c.in, got, err)
		}
	}
}

func TestManifestsOfAnApiserver(t *testing.T) {
	const flag = "--etcd-servers=https://127.0.0.1:2379"
	for _, c := range []struct {
		name, container string
		want            bool
	}{
		{"arguments of the image's entrypoint", `{name: kube-apiserver, args: [` + flag + `]}`, true},
		{"another name", `{name: api, command: [/usr/local/bin/kube-apiserver], args: [` + flag + `]}`, true},
		{"hyperkube", `{name: api, command: [/hyperkube, kube-apiserver, ` + flag + `]}`, true},
		{"a wrapper", `{name: api, command: [/go-runner, --also-stdout, /usr/local/bin/kube-apiserver, ` + flag + `]}`, true},
		{"a shell", `{name: api, command: [/bin/sh, -c], args: ["exec /usr/local/bin/kube-apiserver ` + flag + ` 1>>/var/log/a.log 2>&1"]}`, true},
		{"a script of several lines", `{name: api, command: [bash, -xec, "set -e; exec \\\n kube-apiserver \\\n '` + flag + `'\n"]}`, true},
		{"a comment in a script", `{name: api, command: [sh, -c, "# kube-apiserver ` + flag + `\nexec sleep 1"]}`, false},
		{"words of another program", `{name: proxy, command: [proxy, --wait-for, kube-apiserver]}`, false},
		{"another program of the same flag", `{name: backup, command: [backup, ` + flag + `]}`, false},
	} {
		got, err := Find(fstest.MapFS{"etc/kubernetes/manifests/a.yaml": {Data: []byte("kind: Pod\nspec: {containers: [{name: first}, " + c.container + "]}\n")}})
		if (err == nil) != c.want || c.want && !reflect.DeepEqual(got.Endpoints, []string{"https://127.0.0.1:2379"}) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

func TestSeveralManifests(t *testing.T) {
	host := fstest.MapFS{
		"etc/kubernetes/manifests/a.yaml":                   {Data: apiserver(t, []string{"kube-apiserver", "--etcd-servers=http://a:1"}, "{}")},
		"etc/kubernetes/manifests/kube-apiserver.yaml":      {Data: apiserver(t, []string{"kube-apiserver", "--etcd-servers=http://b:1"}, "{}")},
		"etc/kubernetes/manifests/kube-apiserver.yaml.bak":  {Data: apiserver(t, []string{"kube-apiserver", "--etcd-servers=http://c:1"}, "{}")},
		"etc/kubernetes/manifests/kube-apiserver.yaml.orig": {Data: []byte("a: b: c")},
		"etc/kubernetes/manifests/notes":                    {Data: []byte("a: b: c")},
		"etc/kubernetes/manifests/.kube-apiserver.swp":      {Data: []byte("a: b: c")},
		"etc/kubernetes/manifests/a-list.yaml":              {Data: []byte("kind: PodList\nitems: []\n")},
		"var/lib/rancher/k3s/server/tls/x":                  {},
	}
	got, err := Find(host)
	want := []string{
		"/etc/kubernetes/manifests/kube-apiserver.yaml.bak is the manifest of another apiserver: left aside",
		"/etc/kubernetes/manifests/a.yaml is the manifest of another apiserver: left aside",
		"parsing /etc/kubernetes/manifests/kube-apiserver.yaml.orig: not the manifest of a Pod",
		"parsing /etc/kubernetes/manifests/notes: not the manifest of a Pod",
		"/var/lib/rancher/k3s/server tells of another apiserver, of k3s: left aside",
	}
	if err != nil || !reflect.DeepEqual(got.Warnings, want) || !reflect.DeepEqual(got.Endpoints, []string{"http://b:1"}) {
		t.Errorf("%s\n%v, %v", strings.Join(got.Warnings, "\n"), got.Endpoints, err)
	}

	// What cannot be understood is no reason to pass over another apiserver, unless it is the apiserver's own by its name.
	host = fstest.MapFS{
		"etc/kubernetes/manifests/notes":       {Data: []byte("a: b: c")},
		"var/lib/rancher/k3s/server/tls/x":     {},
		"var/lib/rancher/k3s/server/kine.sock": {},
	}
	if got, err = Find(host); err != nil || got.Distribution != K3s || !reflect.DeepEqual(got.Warnings, want[3:4]) {
		t.Errorf("%+v, %v", got, err)
	}
	host["etc/kubernetes/manifests/kube-apiserver.yaml"] = host["etc/kubernetes/manifests/notes"]
	if got, err = Find(host); err == nil || !strings.Contains(err.Error(), "/kube-apiserver.yaml") {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestOpenShiftConfigThatIsNotToBeFound(t *testing.T) {
	const config = "--openshift-config=/etc/kubernetes/config/config.yaml"
	manifest := apiserver(t, []string{"hyperkube", "kube-apiserver", config, "--etcd-prefix=a"}, "{}")
	got, err := Find(fstest.MapFS{manifestFile[1:]: {Data: manifest}})
	if err != nil || got.Distribution != OpenShift || got.OverridesTold || got.EncryptionTold || len(got.Warnings) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	const volumes = `{volumeMounts: [{name: c, mountPath: /etc/kubernetes/config}], volumes: [{name: c, hostPath: {path: /opt/config}}]}`
	manifest = apiserver(t, []string{"hyperkube", "kube-apiserver", config, "--etcd-prefix=a"}, volumes)
	if _, err = Find(fstest.MapFS{manifestFile[1:]: {Data: manifest}}); err == nil || err.Error() != "reading /opt/config/config.yaml: file does not exist" {
		t.Error(err)
	}
	// The configuration's own value comes behind the command line's.
	got, err = Find(fstest.MapFS{
		manifestFile[1:]:         {Data: manifest},
		"opt/config/config.yaml": {Data: []byte("apiServerArguments: {etcd-prefix: [openshift.io], etcd-servers: ['https://a:1'], v: [2], odd: {a: b}}\n")},
	})
	if err != nil || !reflect.DeepEqual(got.Prefixes, []string{"/openshift.io"}) || len(got.Endpoints) != 1 || got.Warnings != nil || !got.OverridesTold {
		t.Errorf("%+v, %v", got, err)
	}
}
