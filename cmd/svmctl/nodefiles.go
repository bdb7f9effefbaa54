package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/node"
	"github.com/svmctl/svmctl/internal/verify"
)

// foundRoots are the storage roots that are found in etcd without being told.
var foundRoots = []string{"/registry", "/kubernetes.io", "/openshift.io"}

// locate takes from the files of a control-plane node what no flag and no variable names: how to reach etcd, and beside
// it the EncryptionConfiguration and the kubeconfig. It says what it found. Any connection flag for etcd keeps it from looking.
func (p *program) locate(etcd *etcdFlags, kube *kubeFlags, enc *encryptionFlags) (node.Facts, error) {
	if p.host == nil || etcd.told() {
		return node.Facts{}, nil
	}
	facts, err := node.Find(p.host)
	switch {
	case errors.Is(err, node.ErrNone):
		return node.Facts{}, nil
	case errors.Is(err, fs.ErrPermission):
		return node.Facts{}, &exitError{code: exitFailed, err: err, hints: []string{"run svmctl as root on a control-plane node, or name etcd with --endpoints"}}
	case err != nil:
		return node.Facts{}, &exitError{code: exitFailed, err: err, hints: []string{"name etcd with --endpoints, --cacert, --cert and --key"}}
	}
	p.warn(facts.Warnings)
	if len(facts.Endpoints) == 0 {
		return facts, nil
	}
	etcd.endpoints, etcd.config.CACert, etcd.config.Cert, etcd.config.Key = facts.Endpoints, facts.CACert, facts.Cert, facts.Key
	said := "etcd " + strings.Join(facts.Endpoints, ", ")
	if len(etcd.prefixes) == 0 && slices.ContainsFunc(facts.Prefixes, func(prefix string) bool { return !slices.Contains(foundRoots, prefix) }) {
		etcd.prefixes = facts.Prefixes
		said += ", prefix " + strings.Join(facts.Prefixes, ", ")
	}
	if enc != nil && facts.Distribution == node.OpenShift {
		enc.roots = facts.Prefixes // OpenShift's other apiservers have files of their own
	}
	if enc != nil && enc.file == "" && facts.EncryptionConfig != "" {
		enc.file = facts.EncryptionConfig
		said += ", EncryptionConfiguration " + enc.file
	} else if enc != nil && enc.file == "" && facts.EncryptionTold {
		said += ", no EncryptionConfiguration"
	}
	if kube != nil && facts.Kubeconfig != "" && kube.fallBack(facts.Kubeconfig) {
		said += ", kubeconfig " + facts.Kubeconfig
	}
	fmt.Fprintf(p.err, "svmctl: %s, as on this node (%s: %s)\n", render.Inert(said), facts.Distribution, render.Inert(facts.Files[0]))
	return facts, nil
}

// away are resources of which the files of this node tell that they lie in another etcd.
func away(facts node.Facts, etcd *etcdFlags) []verify.Resource {
	var resources []verify.Resource
	for _, name := range node.Away(facts.Overrides, etcd.endpoints) {
		if r, err := verify.ParseResource(name); err == nil {
			resources = append(resources, r)
		}
	}
	return resources
}
