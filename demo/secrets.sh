#!/bin/sh
# Prints two namespaces with secrets in them, as a manifest for kubectl.
set -eu

for namespace in shop bank; do
	cat <<-YAML
	---
	apiVersion: v1
	kind: Namespace
	metadata: {name: $namespace}
	YAML
	for number in 1 2 3 4 5 6 7 8 9 10; do
		cat <<-YAML
		---
		apiVersion: v1
		kind: Secret
		metadata: {name: db-$number, namespace: $namespace}
		stringData: {password: $(head -c 12 /dev/urandom | base64)}
		YAML
	done
done
