package key

// GroupOf is the API group of a built-in resource that is named without one, as kubectl would complete it.
func GroupOf(resource string) (group string, ok bool) {
	for _, r := range builtins {
		if r.resource == resource {
			return r.group, true
		}
	}
	return "", false
}

// Canonical is the name by which Parse knows a resource that the API serves under more than one, such as
// deployments.extensions; all others are returned as they are.
func Canonical(group, resource string) (string, string) {
	if r, ok := byResource[groupResource{group, resource}]; ok {
		r = byDir[r.dir].row
		if r.resource != "" {
			return r.group, r.resource
		}
	}
	return group, resource
}
