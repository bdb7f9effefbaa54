package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// keysUsers are users who lack one of the rights that keys takes; keeper lacks none.
var keysUsers = []string{"keeper", "no-metrics", "no-flagz", "no-namespace", "no-leases"}

// grantKeysUsers gives each what it does not lack. Endpoints take no right as long as there is one apiserver.
func (p *plane) grantKeysUsers(t *testing.T) {
	t.Helper()
	for _, user := range keysUsers {
		rights := map[string]rbacv1.PolicyRule{
			"metrics":   {NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}},
			"flagz":     {NonResourceURLs: []string{"/flagz"}, Verbs: []string{"get"}},
			"namespace": {APIGroups: []string{""}, Resources: []string{"namespaces"}, ResourceNames: []string{"kube-system"}, Verbs: []string{"get"}},
			"leases":    {APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"list"}},
		}
		delete(rights, strings.TrimPrefix(user, "no-"))
		var everywhere []rbacv1.PolicyRule
		for right, rule := range rights {
			if right != "leases" {
				everywhere = append(everywhere, rule)
			}
		}
		meta, subjects := metav1.ObjectMeta{Name: "keys-" + user}, []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}}
		ref := func(kind string) rbacv1.RoleRef {
			return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: meta.Name}
		}
		rbac := p.kube.RbacV1()
		_, err := rbac.ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: everywhere}, metav1.CreateOptions{})
		if err == nil {
			_, err = rbac.ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: meta, Subjects: subjects, RoleRef: ref("ClusterRole")}, metav1.CreateOptions{})
		}
		if rule, ok := rights["leases"]; ok && err == nil {
			_, err = rbac.Roles("kube-system").Create(t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{rule}}, metav1.CreateOptions{})
			if err == nil {
				_, err = rbac.RoleBindings("kube-system").Create(t.Context(), &rbacv1.RoleBinding{ObjectMeta: meta, Subjects: subjects, RoleRef: ref("Role")}, metav1.CreateOptions{})
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// keysRights asks about a key that nothing is under any more, as each of these users.
func (p *plane) keysRights(t *testing.T) {
	await(t, 20*time.Second, "the apiserver to know the roles", func(ctx context.Context) (bool, string) {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: keysUsers[len(keysUsers)-1],
			NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: "/flagz", Verb: "get"}}}
		answer, err := p.kube.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		return err == nil && answer.Status.Allowed, fmt.Sprint(err)
	})
	for _, c := range []struct {
		user, want string
		words      []string
		more       []string
	}{
		{user: "keeper", want: "yes"},
		{user: "no-metrics", want: "unknown", words: []string{"EncryptionConfiguration", "metrics", "403"}},
		{user: "no-flagz", want: "unknown", words: []string{"--etcd-servers-overrides", "/flagz", "403"}},
		{user: "no-flagz", want: "yes", more: []string{"--no-etcd-overrides"}},
		{user: "no-namespace", want: "unknown", words: []string{"get on namespaces"}},
		{user: "no-leases", want: "unknown", words: []string{"how many apiservers there are", "403"}},
	} {
		t.Run(strings.Join(append([]string{c.user}, c.more...), " "), func(t *testing.T) {
			p.canRemove(t, "aescbc:key1", c.want, c.words, append(c.more, "--kubeconfig", p.userKubeconfig(c.user))...)
		})
	}
}
