package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// cipherPlane has every provider in use at once, under two storage roots.
type cipherPlane struct {
	*plane
	v1, v2 *plugin
	roots  map[string]*rest.Config // of the apiserver of each
}

func startCipherPlane(t *testing.T) *cipherPlane {
	t.Helper()
	c := &cipherPlane{v1: startPlugin(t, "--version", "v1"), v2: startPlugin(t)}
	c.plane = startPlane(t, c.rules(), "--without-controller-manager", "--apiserver-arg=--feature-gates=KMSv1=true")
	c.roots = map[string]*rest.Config{"/registry": c.rest, "/kubernetes.io": c.furtherRoot(t, "/kubernetes.io")}
	c.fill(t, "/registry", "v1", 8)
	c.fill(t, "/kubernetes.io", "v2", 3)
	return c
}

func (c *cipherPlane) rules() string {
	return encryptionRules(
		encryptionRule([]string{"secrets"}, "kms-v2:vault="+c.v2.socket),
		encryptionRule([]string{"configmaps"}, "kms-v1:older="+c.v1.socket, "identity"),
		encryptionRule([]string{"namespaces", "services"}, "identity"),
		encryptionRule([]string{"'*.stable.example.com'"}, "secretbox:key1"),
		encryptionRule([]string{"deployments.apps", "'*.rbac.authorization.k8s.io'"}, "aesgcm:key2"),
		encryptionRule([]string{"'*.*'"}, "aescbc:key3"),
	)
}

// ruled is what the rules have a resource written with, and whether that cipher vouches for what it opens.
func (c *cipherPlane) ruled(resource, group string) (as string, authenticated bool) {
	switch {
	case group == "" && resource == "secrets":
		return "kms v2 vault", true
	case group == "" && resource == "configmaps":
		return "kms v1 older", true
	case group == "" && (resource == "namespaces" || resource == "services"):
		return "identity  ", false
	case group == "stable.example.com":
		return "secretbox v1 key1", true
	case group == "rbac.authorization.k8s.io", group == "apps" && resource == "deployments":
		return "aesgcm v1 key2", true
	}
	return "aescbc v1 key3", false
}

// furtherRoot runs a further apiserver on the plane's etcd until the test ends: the plane's own but for the root.
func (p *plane) furtherRoot(t *testing.T, root string) *rest.Config {
	t.Helper()
	var status struct {
		Processes []struct {
			Name string
			PID  int
		}
	}
	if err := json.Unmarshal([]byte(p.playground(t, "status", "-o", "json")), &status); err != nil {
		t.Fatal(err)
	}
	var command []string
	for _, process := range status.Processes {
		if process.Name == "kube-apiserver" {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", process.PID))
			if err != nil {
				t.Fatal(err)
			}
			command = strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
		}
	}
	address := freePort(t)
	_, port, _ := net.SplitHostPort(address)
	log, err := os.Create(filepath.Join(p.dir, "logs", "further-root.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(command[0], append(command[1:], "--etcd-prefix="+root, "--secure-port="+port, "--endpoint-reconciler-type=none")...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	config := rest.CopyConfig(p.rest)
	config.Host = "https://" + address
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	await(t, 2*time.Minute, "the apiserver of "+root, func(ctx context.Context) (bool, string) {
		if _, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err != nil {
			return false, err.Error()
		}
		_, err := client.CoreV1().Namespaces().Get(ctx, "default", metav1.GetOptions{})
		return err == nil, fmt.Sprint(err)
	})
	return config
}

// gadgetCRD are of a group that a wildcard names, and knobCRD of one that only *.* covers.
const gadgetCRD, knobCRD = "gadgets.stable.example.com", "knobs.odd.example.com"

// customResource is a definition with two versions.
func customResource(name, kind, storage string) map[string]any {
	plural, group, _ := strings.Cut(name, ".")
	var versions []any
	for _, v := range []string{"v1", "v2"} {
		versions = append(versions, map[string]any{"name": v, "served": true, "storage": v == storage,
			"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}}})
	}
	return map[string]any{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"group": group, "scope": "Namespaced", "names": map[string]any{"plural": plural, "kind": kind}, "versions": versions}}
}

// fill makes count objects of each of some resources below a root. Custom resources are stored at the version given.
func (c *cipherPlane) fill(t *testing.T, root, version string, count int) {
	t.Helper()
	kube, err := kubernetes.NewForConfig(c.roots[root])
	if err != nil {
		t.Fatal(err)
	}
	custom, err := dynamic.NewForConfig(c.roots[root])
	if err != nil {
		t.Fatal(err)
	}
	for name, kind := range map[string]string{gadgetCRD: "Gadget", knobCRD: "Knob"} {
		c.createSoon(t, custom, "customresourcedefinitions.apiextensions.k8s.io", "v1", "", customResource(name, kind, version))
	}
	inParallel(t, 8, count, func(ctx context.Context, i int) error {
		name := fmt.Sprintf("app-%d", i)
		s := secret("default", name, "content of "+name)
		if _, err := kube.CoreV1().Secrets("default").Create(ctx, s, metav1.CreateOptions{}); err != nil {
			return err
		}
		config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"password": canaryInData}}
		if _, err := kube.CoreV1().ConfigMaps("default").Create(ctx, config, metav1.CreateOptions{}); err != nil {
			return err
		}
		labels := map[string]string{"app": name}
		template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{
			{Name: "app", Image: "example.com/app", Env: []corev1.EnvVar{{Name: "PASSWORD", Value: canaryInData}}}}}}
		meta, selector := metav1.ObjectMeta{Name: name}, &metav1.LabelSelector{MatchLabels: labels}
		deployment := &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Selector: selector, Template: template}}
		if _, err := kube.AppsV1().Deployments("default").Create(ctx, deployment, metav1.CreateOptions{}); err != nil {
			return err
		}
		set := &appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Selector: selector, Template: template}}
		_, err := kube.AppsV1().StatefulSets("default").Create(ctx, set, metav1.CreateOptions{})
		return err
	})
	for name, kind := range map[string]string{gadgetCRD: "Gadget", knobCRD: "Knob"} {
		_, group, _ := strings.Cut(name, ".")
		for i := range count {
			o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"password": canaryInData}}}
			o.SetAPIVersion(group + "/v1")
			o.SetKind(kind)
			o.SetName(fmt.Sprintf("app-%d", i))
			c.createSoon(t, custom, name, "v1", "default", o.Object)
		}
	}
}
