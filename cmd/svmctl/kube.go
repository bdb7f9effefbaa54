package main

import (
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// kubeFlags are kubectl's, with its order of looking: --kubeconfig, KUBECONFIG, ~/.kube/config, the pod's own account.
type kubeFlags struct {
	loading   *clientcmd.ClientConfigLoadingRules
	overrides clientcmd.ConfigOverrides
}

func addKubeFlags(fs *pflag.FlagSet) *kubeFlags {
	f := &kubeFlags{loading: clientcmd.NewDefaultClientConfigLoadingRules()}
	fs.StringVar(&f.loading.ExplicitPath, "kubeconfig", "", "kubeconfig `file` (KUBECONFIG, then ~/.kube/config)")
	flags := clientcmd.RecommendedConfigOverrideFlags("")
	flags.ContextOverrideFlags.Namespace.LongName = ""
	clientcmd.BindOverrideFlags(&f.overrides, fs, flags)
	return f
}

// config is how to reach the apiserver.
func (f *kubeFlags) config() (*rest.Config, error) {
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(f.loading, &f.overrides).ClientConfig()
	if err != nil {
		return nil, &exitError{code: exitFailed, err: fmt.Errorf("reading the kubeconfig: %w", err),
			hints: []string{"name a kubeconfig with --kubeconfig or KUBECONFIG, and one of its contexts with --context"}}
	}
	cfg.WarningHandler = rest.NoWarnings{} // stderr is for lines of svmctl's own
	cfg.UserAgent = "svmctl/" + version
	return cfg, nil
}
