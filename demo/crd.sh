#!/bin/sh
# The story of "Versions in CustomResourceDefinitions" in the Kubernetes documentation, up to its last step: SelfieRequests
# stored as v1 become v2 behind a conversion webhook, etcd says so, and v1 is dropped from the definition. It runs on a
# control plane of its own, on loopback, and leaves nothing behind.
#
#	sh demo/crd.sh        svmctl rewrites what is stale
#	sh demo/crd.sh svm    the in-tree controller rewrites all of them
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/demo/stage.sh"

backend=${1:-patch}
case $backend in patch | svm) ;; *) fail "the backend is patch or svm, not '$backend'" ;; esac
name=selfierequests.stable.example.com
cp "$root"/testdata/crd/*.yaml .

# stored prints at which version etcd holds an object.
stored() { playground etcdctl get "/registry/stable.example.com/selfierequests/default/$1" --print-value-only | sed -n '1s|^{"apiVersion":"\([^"]*\)".*|\1|p'; }

# stored_as NAME VERSION tells whether etcd holds it so.
stored_as() { [ "$(stored "$1")" = "stable.example.com/$2" ]; }

# v2_is_written tells whether the apiserver has taken up that v2 is the storage version.
v2_is_written() {
	kubectl replace --force -f cr2.yaml && stored_as cr2 v2
}

# Real clusters write an object now and then. Without that the in-tree controller waits, a minute or two, until the
# garbage collector's cache has heard of a revision as new as its own.
keep_writing() {
	while sleep 1; do
		kubectl annotate selfierequests.v2.stable.example.com cr2 --overwrite renewed="$(date +%s)" >/dev/null 2>&1 || true
	done
}

heading 'A control plane with SelfieRequests, stored as v1'
run 0 playground up --detach
. plane/env
run 0 kubectl apply -f selfierequests-v1.yaml
run 0 kubectl wait --for=condition=Established "crd/$name"
printf '$ kubectl apply -f cr1.yaml\n'
until_done kubectl apply -f cr1.yaml
cat printed

heading 'v2 is added behind a conversion webhook, and becomes the storage version'
playground conversion --ready-file url >/dev/null &
background=$!
until_done test -s url
printf '$ playground conversion-crd selfierequests-v1-v2.yaml --url %s | kubectl apply -f -\n' "$(cat url)"
playground conversion-crd selfierequests-v1-v2.yaml --url "$(cat url)" > filled.yaml
kubectl apply -f filled.yaml
printf '$ kubectl replace --force -f cr2.yaml\n'
until_done v2_is_written
tail -n 1 printed

heading 'What lies in etcd: cr1 as v1, and cr2 as v2'
show 0 'v1: 1, v2: 1' svmctl crds
show 0 'stable.example.com/v2' svmctl audit --prefix /registry/stable.example.com
grep -q 'stable.example.com/v1' printed || fail 'cr1 is not shown as v1'
stored_as cr1 v1 || fail "etcd holds cr1 as '$(stored cr1)'"

heading 'v1 cannot go while storedVersions names it, and storedVersions is not trimmed while etcd holds it'
show 1 'status.storedVersions' kubectl apply -f selfierequests-v2.yaml
show 3 'is not pruned: 1 object is stored at v1' svmctl crds prune "$name" --settle 2s
grep -q "^svmctl: hint: svmctl migrate $name" printed || fail 'prune does not name the next step'

if [ "$backend" = svm ]; then
	heading 'The in-tree controller rewrites them, and etcd is read again (one of them is being written every second or so)'
	keep_writing &
	background="$background $!"
else
	heading 'svmctl has what is stale rewritten, and reads etcd again'
fi
signing_key
show 0 'Verdict: Complete' svmctl migrate "$name" --backend "$backend" --yes --evidence "$EVIDENCE/selfierequests" --cluster-label demo --reconcile-api --sign-key signing.key
show 0 'Verdict: Complete' svmctl audit --prefix /registry/stable.example.com --expect-version "$name=stable.example.com/v2"
stored_as cr1 v2 || fail "etcd holds cr1 as '$(stored cr1)'"

if [ "$backend" = svm ]; then
	heading 'The controller has trimmed storedVersions without looking; svmctl looks'
	show 0 'Clean' svmctl crds prune "$name" --settle 2s
else
	heading 'storedVersions is trimmed, behind a scan of etcd and before another'
	show 0 'dropped v1 from storedVersions' svmctl crds prune "$name" --settle 2s
fi
printf '$ kubectl get crd %s -o jsonpath={.status.storedVersions}\n' "$name"
versions=$(kubectl get crd "$name" -o 'jsonpath={.status.storedVersions}')
printf '%s\n' "$versions"
[ "$versions" = '["v2"]' ] || fail 'storedVersions is not ["v2"]'

heading 'What does the bundle of the migration say?'
show 0 'SVM-E6  pass          The migration to the expected apiVersion was finished' svmctl evidence verify "$EVIDENCE/selfierequests"

heading 'v1 goes from the definition, the webhook goes with it, and cr1 still reads as v2'
run 0 kubectl apply -f selfierequests-v2.yaml
dismiss
reads_as_v2() { [ "$(kubectl get selfierequests cr1 -o 'jsonpath={.apiVersion} {.spec}')" = 'stable.example.com/v2 {"host":"localhost","port":"1234"}' ]; }
until_done reads_as_v2
run 0 kubectl get selfierequests cr1 -o 'jsonpath={.apiVersion} {.spec}'
printf '\n'
show 0 'Clean' svmctl crds

heading 'Done'
