package key

// scope tells how many segments follow a resource's directory.
type scope bool

const (
	namespaced scope = true  // <namespace>/<name>
	cluster    scope = false // <name>
)

// row says where one group-resource lies: directory below the storage root, and what the API calls it.
type row struct {
	dir, group, resource string
	scope                scope
}

// builtins are the resources that Kubernetes itself stores, as its own storage test has them for 1.34 to 1.37
// (https://github.com/kubernetes/kubernetes/blob/v1.37.2/test/integration/etcd/data.go), and at the end those
// that older releases stored and an old cluster may still hold.
var builtins = []row{
	{"configmaps", "", "configmaps", namespaced},
	{"services/endpoints", "", "endpoints", namespaced},
	{"events", "", "events", namespaced},
	{"limitranges", "", "limitranges", namespaced},
	{"namespaces", "", "namespaces", cluster},
	{"minions", "", "nodes", cluster},
	{"persistentvolumeclaims", "", "persistentvolumeclaims", namespaced},
	{"persistentvolumes", "", "persistentvolumes", cluster},
	{"pods", "", "pods", namespaced},
	{"podtemplates", "", "podtemplates", namespaced},
	{"controllers", "", "replicationcontrollers", namespaced},
	{"resourcequotas", "", "resourcequotas", namespaced},
	{"secrets", "", "secrets", namespaced},
	{"serviceaccounts", "", "serviceaccounts", namespaced},
	{"services/specs", "", "services", namespaced},

	{"mutatingadmissionpolicies", "admissionregistration.k8s.io", "mutatingadmissionpolicies", cluster},
	{"mutatingadmissionpolicybindings", "admissionregistration.k8s.io", "mutatingadmissionpolicybindings", cluster},
	{"mutatingwebhookconfigurations", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", cluster},
	{"validatingadmissionpolicies", "admissionregistration.k8s.io", "validatingadmissionpolicies", cluster},
	{"validatingadmissionpolicybindings", "admissionregistration.k8s.io", "validatingadmissionpolicybindings", cluster},
	{"validatingwebhookconfigurations", "admissionregistration.k8s.io", "validatingwebhookconfigurations", cluster},

	{"apiextensions.k8s.io/customresourcedefinitions", "apiextensions.k8s.io", "customresourcedefinitions", cluster},
	{"apiregistration.k8s.io/apiservices", "apiregistration.k8s.io", "apiservices", cluster},

	{"controllerrevisions", "apps", "controllerrevisions", namespaced},
	{"daemonsets", "apps", "daemonsets", namespaced},
	{"deployments", "apps", "deployments", namespaced},
	{"replicasets", "apps", "replicasets", namespaced},
	{"statefulsets", "apps", "statefulsets", namespaced},

	{"horizontalpodautoscalers", "autoscaling", "horizontalpodautoscalers", namespaced},

	{"cronjobs", "batch", "cronjobs", namespaced},
	{"jobs", "batch", "jobs", namespaced},

	{"certificatesigningrequests", "certificates.k8s.io", "certificatesigningrequests", cluster},
	{"clustertrustbundles", "certificates.k8s.io", "clustertrustbundles", cluster},
	{"podcertificaterequests", "certificates.k8s.io", "podcertificaterequests", namespaced},

	{"leasecandidates", "coordination.k8s.io", "leasecandidates", namespaced},
	{"leases", "coordination.k8s.io", "leases", namespaced},

	{"endpointslices", "discovery.k8s.io", "endpointslices", namespaced},

	{"flowschemas", "flowcontrol.apiserver.k8s.io", "flowschemas", cluster},
	{"prioritylevelconfigurations", "flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", cluster},

	{"storageversions", "internal.apiserver.k8s.io", "storageversions", cluster},

	{"evictionrequests", "lifecycle.k8s.io", "evictionrequests", namespaced},
	{"evictions", "lifecycle.k8s.io", "evictions", namespaced},

	{"ingressclasses", "networking.k8s.io", "ingressclasses", cluster},
	{"ingress", "networking.k8s.io", "ingresses", namespaced},
	{"ipaddresses", "networking.k8s.io", "ipaddresses", cluster},
	{"networkpolicies", "networking.k8s.io", "networkpolicies", namespaced},
	{"servicecidrs", "networking.k8s.io", "servicecidrs", cluster},

	{"runtimeclasses", "node.k8s.io", "runtimeclasses", cluster},

	{"poddisruptionbudgets", "policy", "poddisruptionbudgets", namespaced},

	{"clusterrolebindings", "rbac.authorization.k8s.io", "clusterrolebindings", cluster},
	{"clusterroles", "rbac.authorization.k8s.io", "clusterroles", cluster},
	{"rolebindings", "rbac.authorization.k8s.io", "rolebindings", namespaced},
	{"roles", "rbac.authorization.k8s.io", "roles", namespaced},

	{"deviceclasses", "resource.k8s.io", "deviceclasses", cluster},
	{"devicetaintrules", "resource.k8s.io", "devicetaintrules", cluster},
	{"resourceclaims", "resource.k8s.io", "resourceclaims", namespaced},
	{"resourceclaimtemplates", "resource.k8s.io", "resourceclaimtemplates", namespaced},
	{"resourcepoolstatusrequests", "resource.k8s.io", "resourcepoolstatusrequests", cluster},
	{"resourceslices", "resource.k8s.io", "resourceslices", cluster},

	{"compositepodgroups", "scheduling.k8s.io", "compositepodgroups", namespaced},
	{"podgroups", "scheduling.k8s.io", "podgroups", namespaced},
	{"priorityclasses", "scheduling.k8s.io", "priorityclasses", cluster},
	{"workloads", "scheduling.k8s.io", "workloads", namespaced},

	{"csidrivers", "storage.k8s.io", "csidrivers", cluster},
	{"csinodes", "storage.k8s.io", "csinodes", cluster},
	{"csistoragecapacities", "storage.k8s.io", "csistoragecapacities", namespaced},
	{"storageclasses", "storage.k8s.io", "storageclasses", cluster},
	{"volumeattachments", "storage.k8s.io", "volumeattachments", cluster},
	{"volumeattributesclasses", "storage.k8s.io", "volumeattributesclasses", cluster},

	{"storageversionmigrations", "storagemigration.k8s.io", "storageversionmigrations", cluster},

	// No longer stored by 1.34 and later.
	{"auditsinks", "auditregistration.k8s.io", "auditsinks", cluster},
	{"clustercidrs", "networking.k8s.io", "clustercidrs", cluster},
	{"podpresets", "settings.k8s.io", "podpresets", namespaced},
	{"podschedulingcontexts", "resource.k8s.io", "podschedulingcontexts", namespaced},
	{"podsecuritypolicy", "policy", "podsecuritypolicies", cluster},
	{"resourceclaimparameters", "resource.k8s.io", "resourceclaimparameters", namespaced},
	{"resourceclasses", "resource.k8s.io", "resourceclasses", cluster},
	{"resourceclassparameters", "resource.k8s.io", "resourceclassparameters", namespaced},
}

// aliases are further API names of objects that lie in a directory of builtins. Parse never returns them: it
// returns the name that the storage layer prefers.
// https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/kubeapiserver/default_storage_factory_builder.go
var aliases = []row{
	{"events", "events.k8s.io", "events", namespaced},
	{"daemonsets", "extensions", "daemonsets", namespaced},
	{"deployments", "extensions", "deployments", namespaced},
	{"ingress", "extensions", "ingresses", namespaced},
	{"networkpolicies", "extensions", "networkpolicies", namespaced},
	{"podsecuritypolicy", "extensions", "podsecuritypolicies", cluster},
	{"replicasets", "extensions", "replicasets", namespaced},
}

// openshiftRoot is where OpenShift's own apiservers store; the directories below are theirs only there.
const openshiftRoot = "/openshift.io"

// openshift are the resources of OpenShift's own apiservers, as its storage test has them
// (https://github.com/openshift/origin/blob/master/test/extended/etcd/etcd_storage_path.go).
var openshift = []row{
	{"deploymentconfigs", "apps.openshift.io", "deploymentconfigs", namespaced},
	{"buildconfigs", "build.openshift.io", "buildconfigs", namespaced},
	{"builds", "build.openshift.io", "builds", namespaced},
	{"images", "image.openshift.io", "images", cluster},
	{"imagestreams", "image.openshift.io", "imagestreams", namespaced},
	{"oauth/accesstokens", "oauth.openshift.io", "oauthaccesstokens", cluster},
	{"oauth/authorizetokens", "oauth.openshift.io", "oauthauthorizetokens", cluster},
	{"oauth/clientauthorizations", "oauth.openshift.io", "oauthclientauthorizations", cluster},
	{"oauth/clients", "oauth.openshift.io", "oauthclients", cluster},
	{"routes", "route.openshift.io", "routes", namespaced},
	{"rangeallocations", "security.openshift.io", "rangeallocations", cluster},
	{"brokertemplateinstances", "template.openshift.io", "brokertemplateinstances", cluster},
	{"templateinstances", "template.openshift.io", "templateinstances", namespaced},
	{"templates", "template.openshift.io", "templates", namespaced},
	{"groups", "user.openshift.io", "groups", cluster},
	{"useridentities", "user.openshift.io", "identities", cluster},
	{"users", "user.openshift.io", "users", cluster},
}

// internals are top-level directories that an apiserver keeps for itself and no API serves.
var internals = map[string]string{
	"masterleases":     NoteMasterLeases,
	"peerserverleases": NotePeerServerLeases,
	"ranges":           NoteRanges,
}
