// Package program holds the real programs that the playground binary can become: it calls
// their own entry points with their own flags, and never changes what they do.
package program

import (
	"fmt"
	"os"
	"time"
	_ "time/tzdata" // the controller manager ships its own time zones as well

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/etcdctl/v3/ctlv3"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig/controller"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // as kubectl does
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"          // as both Kubernetes servers do
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // as both Kubernetes servers do
	_ "k8s.io/component-base/metrics/prometheus/version"  // as both Kubernetes servers do
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"

	"github.com/svmctl/svmctl/playground/plane"
)

// Lookup returns the program of that name, which takes its arguments from os.Args. A program
// may end the process by itself; its result is the exit status when it returns.
func Lookup(name string) (func() int, bool) {
	run, ok := map[string]func() int{
		"etcd":                    runEtcd,
		"etcdctl":                 runEtcdctl,
		"kube-apiserver":          runAPIServer,
		"kube-controller-manager": runControllerManager,
		"kubectl":                 runKubectl,
	}[name]
	return run, ok
}

// Names lists what Lookup knows, in the order of a help text.
func Names() []string {
	return []string{"etcd", "etcdctl", "kube-apiserver", "kube-controller-manager", "kubectl"}
}

func runEtcd() int {
	etcdmain.Main(os.Args)
	return 0
}

func runEtcdctl() int {
	ctlv3.MustStart()
	return 0
}

func runAPIServer() int {
	if value := os.Getenv(plane.ReloadIntervalEnv); value != "" {
		interval, err := time.ParseDuration(value)
		if err != nil || interval <= 0 {
			fmt.Fprintf(os.Stderr, "%s: not a positive duration: %q\n", plane.ReloadIntervalEnv, value)
			return 1
		}
		controller.EncryptionConfigFileChangePollDuration = interval
	}
	withoutEtcdctlInit()
	return cli.Run(apiserver.NewAPIServerCommand())
}

func runControllerManager() int {
	withoutEtcdctlInit()
	return cli.Run(controllers.NewControllerManagerCommand())
}

// runKubectl follows cmd/kubectl/kubectl.go of Kubernetes.
func runKubectl() int {
	withoutEtcdctlInit()
	// kubectl builds its commands before it parses flags, and may log while it does.
	logs.GlogSetter(cmd.GetLogVerbosity(os.Args)) //nolint:errcheck // the level is checked again by the flag
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
	return 0
}

// withoutEtcdctlInit takes back what importing etcdctl sets for every cobra command of the
// process: abbreviated command names, which none of the other programs has.
func withoutEtcdctlInit() {
	cobra.EnablePrefixMatching = false
}
