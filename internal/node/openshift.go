package node

import (
	"fmt"
	"maps"
	"path"
	"slices"

	"sigs.k8s.io/yaml"
)

// openshiftConfig adds the flags that stand in the KubeAPIServerConfig. The apiserver parses them behind those of its
// command line: https://github.com/openshift/kubernetes/blob/638dbb52/openshift-kube-apiserver/openshiftkubeapiserver/flags.go
// Where it is not to be found, s has the flags of the command line alone.
func openshiftConfig(t tree, s *source, f *Facts) error {
	config, _ := s.path(t, f, flagOpenShift)
	if config == "" {
		f.OverridesTold, f.EncryptionTold = false, false
		return nil
	}
	content, err := t.read(config)
	if err != nil {
		return err
	}
	var parsed struct {
		APIServerArguments map[string]any `json:"apiServerArguments"`
	}
	if yaml.Unmarshal(content, &parsed) != nil {
		return fmt.Errorf("parsing %s: not a KubeAPIServerConfig", config)
	}
	f.Files = append(f.Files, config)
	s.file = config
	for _, name := range slices.Sorted(maps.Keys(parsed.APIServerArguments)) {
		for _, value := range texts(parsed.APIServerArguments[name]) {
			s.flags.add(name, value)
		}
	}
	return nil
}

// openshiftKubeconfig prefers the one that goes to the apiserver of this very node, whose files were read:
// https://github.com/openshift/cluster-kube-apiserver-operator/blob/005a9560/bindata/assets/kube-apiserver/node-kubeconfigs.yaml
func openshiftKubeconfig(t tree) string {
	const dir = "/etc/kubernetes/static-pod-resources/kube-apiserver-certs/secrets/node-kubeconfigs"
	var files []string
	for _, name := range []string{"localhost", "localhost-recovery", "lb-int", "lb-ext"} {
		files = append(files, path.Join(dir, name+".kubeconfig"))
	}
	return t.firstOf(files...)
}
