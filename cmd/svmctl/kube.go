package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/svmctl/svmctl/internal/apiservers"
)

// kubeFlags are kubectl's, with its order of looking: --kubeconfig, KUBECONFIG, ~/.kube/config, the pod's own account.
type kubeFlags struct {
	loading   *clientcmd.ClientConfigLoadingRules
	overrides clientcmd.ConfigOverrides
}

func addKubeFlags(set *pflag.FlagSet) *kubeFlags {
	f := &kubeFlags{loading: clientcmd.NewDefaultClientConfigLoadingRules()}
	set.StringVar(&f.loading.ExplicitPath, "kubeconfig", "", "kubeconfig `file` (KUBECONFIG, then ~/.kube/config)")
	flags := clientcmd.RecommendedConfigOverrideFlags("")
	flags.ContextOverrideFlags.Namespace.LongName = ""
	clientcmd.BindOverrideFlags(&f.overrides, set, flags)
	return f
}

// fallBack takes a kubeconfig where nobody names one and none is where kubectl looks; it tells whether it did.
func (f *kubeFlags) fallBack(file string) bool {
	if f.loading.ExplicitPath != "" || f.overrides.ClusterInfo.Server != "" {
		return false
	}
	for _, usual := range f.loading.Precedence {
		if _, err := os.Stat(usual); err == nil {
			return false
		}
	}
	f.loading.ExplicitPath = file
	return true
}

// config is how to reach the apiserver.
func (f *kubeFlags) config() (*rest.Config, error) {
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(f.loading, &f.overrides).ClientConfig()
	if err != nil {
		return nil, &exitError{code: exitFailed, err: fmt.Errorf("reading the kubeconfig: %w", f.safe(err)),
			hints: []string{"name a kubeconfig with --kubeconfig or KUBECONFIG, and one of its contexts with --context"}}
	}
	cfg.WarningHandler = rest.NoWarnings{} // stderr is for lines of svmctl's own
	cfg.UserAgent = "svmctl/" + version
	return cfg, nil
}

// safe drops what a parser says of a kubeconfig: it may quote a token. What remains names files, contexts and clusters.
func (f *kubeFlags) safe(err error) error {
	switch {
	case clientcmd.IsEmptyConfig(err):
		return errors.New("there is none")
	case strings.HasSuffix(err.Error(), " does not exist"): // a context, cluster or user, by the name that was asked for
		return err
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return err
	case clientcmd.IsConfigurationInvalid(err):
		return errors.New("the configuration is not valid: look at its clusters, users and contexts")
	}
	files := f.loading.GetLoadingPrecedence()
	return fmt.Errorf("%s cannot be understood", strings.Join(files, ", "))
}

// apiserverFlags name apiservers that cannot be found.
type apiserverFlags struct{ given []string }

func (f *apiserverFlags) add(set *pflag.FlagSet) {
	set.StringSliceVar(&f.given, "apiserver", nil, "`URL`s of all apiservers, comma-separated, each asked itself (default: the endpoints of the service kubernetes)")
}

func (f *apiserverFlags) addresses() ([]string, error) {
	for _, text := range f.given {
		if _, err := apiservers.ParseAddress(text); err != nil {
			return nil, usageError(err, "--apiserver https://10.0.0.1:6443,https://10.0.0.2:6443")
		}
	}
	return f.given, nil
}
