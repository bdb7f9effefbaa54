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
