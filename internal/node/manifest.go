package node

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

const manifestDir = "/etc/kubernetes/manifests"

// pod has what is read of a static Pod. Its manifest may hold whatever else it likes, of any version.
type pod struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Namespace   string            `json:"namespace"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		Containers []container `json:"containers"`
		Volumes    []volume    `json:"volumes"`
	} `json:"spec"`
}

type container struct {
	Name         string   `json:"name"`
	Command      []string `json:"command"`
	Args         []string `json:"args"`
	VolumeMounts []mount  `json:"volumeMounts"`
}

// staticPod is a manifest that runs an apiserver.
type staticPod struct {
	file      string
	pod       pod
	container container
	flags     flags
}

// kubernetesManifests finds the apiserver where the kubelet of kubeadm, of OpenShift and of most others looks.
func kubernetesManifests(t tree) (Facts, error) {
	found, warnings, err := staticPods(t, manifestDir)
	if err != nil {
		return Facts{}, err
	}
	f := Facts{Distribution: found.distribution(), Warnings: warnings}
	if err := found.fill(t, &f); err != nil {
		return Facts{}, err
	}
	f.Kubeconfig = t.firstOf("/etc/kubernetes/admin.conf")
	if f.Distribution == OpenShift {
		f.Kubeconfig = openshiftKubeconfig(t)
	}
	return f, nil
}

// staticPods finds the apiserver's manifest in a directory. It takes the files that the kubelet takes: all that are no
// directories and do not begin with a dot, so also backups. The error is ErrNone, or a doubt, or of a file that is the
// apiserver's by its name.
func staticPods(t tree, dir string) (staticPod, []string, error) {
	names, err := t.list(dir)
	if err != nil {
		return staticPod{}, nil, err
	}
	// The kubelet would run each. The names that distributions use go first.
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	var (
		found    []staticPod
		problems []error
	)
	for _, name := range names {
		p, err := readStaticPod(t, path.Join(dir, name))
		switch {
		case errors.Is(err, ErrNone):
		case err != nil && len(found) == 0 && rank(name) < others:
			return staticPod{}, nil, err
		case err != nil:
			problems = append(problems, err)
		default:
			found = append(found, p)
		}
	}
	switch {
	case len(found) > 0:
	case len(problems) > 0:
		return staticPod{}, nil, doubt{problems[0]}
	default:
		return staticPod{}, nil, ErrNone
	}
	var warnings []string
	for _, p := range found[1:] {
		warnings = append(warnings, fmt.Sprintf("%s is the manifest of another apiserver: left aside", p.file))
	}
	for _, err := range problems {
		warnings = append(warnings, err.Error())
	}
	return found[0], warnings, nil
}

const others = 2

func rank(name string) int {
	switch {
	case name == "kube-apiserver.yaml" || name == "kube-apiserver-pod.yaml":
		return 0
	case strings.HasPrefix(name, "kube-apiserver"):
		return 1
	}
	return others
}

// readStaticPod returns ErrNone when the manifest runs no apiserver. The parser's own error would quote the manifest.
func readStaticPod(t tree, file string) (staticPod, error) {
	content, err := t.read(file)
	if err != nil {
		return staticPod{}, err
	}
	p := staticPod{file: file}
	if yaml.Unmarshal(content, &p.pod) != nil {
		return staticPod{}, fmt.Errorf("parsing %s: not the manifest of a Pod", file)
	}
	if p.pod.Kind != "Pod" {
		return staticPod{}, ErrNone
	}
	for _, c := range p.pod.Spec.Containers {
		command := c.words()
		f := make(flags)
		f.read(command)
		if c.Name == "kube-apiserver" || runsAPIServer(command) && (f[flagServers] != nil || f[flagOpenShift] != nil) {
			p.container, p.flags = c, f
			return p, nil
		}
	}
	return staticPod{}, ErrNone
}

// words are those of the command, and of the script when the command is a shell: OpenShift's is, see
// https://github.com/openshift/cluster-kube-apiserver-operator/blob/a3e0c457/bindata/assets/kube-apiserver/pod.yaml
func (c container) words() []string {
	var (
		all   []string
		shell bool
	)
	command := slices.Concat(c.Command, c.Args)
	for i, word := range command {
		if shell && i > 0 && strings.HasPrefix(command[i-1], "-") && strings.HasSuffix(command[i-1], "c") {
			all = append(all, words(word)...)
			continue
		}
		shell = shell || slices.Contains([]string{"sh", "ash", "bash", "dash"}, path.Base(word))
		all = append(all, word)
	}
	return all
}

func runsAPIServer(command []string) bool {
	for i, word := range command {
		switch path.Base(word) {
		case "kube-apiserver":
			return true
		case "hyperkube":
			if i+1 < len(command) && (command[i+1] == "kube-apiserver" || command[i+1] == "apiserver") {
				return true
			}
		}
	}
	return false
}

func (p staticPod) distribution() string {
	if p.flags[flagOpenShift] != nil || p.pod.Metadata.Namespace == "openshift-kube-apiserver" {
		return OpenShift
	}
	for key := range p.pod.Metadata.Annotations {
		if strings.HasPrefix(key, "kubeadm.kubernetes.io/") {
			return Kubeadm
		}
	}
	return StaticManifest
}

// fill sets all that the manifest says, and what the configuration says that it names.
func (p staticPod) fill(t tree, f *Facts) error {
	f.Files = append(f.Files, p.file)
	f.OverridesTold, f.EncryptionTold = true, true
	s := source{file: p.file, flags: p.flags, toHost: p.toHost}
	if p.flags[flagOpenShift] != nil {
		if err := openshiftConfig(t, &s, f); err != nil {
			return err
		}
	}
	s.fill(t, f)
	if s.flags[flagServers] == nil {
		f.warn("%s: no --%s", s.file, flagServers)
	}
	return nil
}
