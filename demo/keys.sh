#!/bin/sh
# The story of "Encrypting Confidential Data at Rest" in the Kubernetes documentation, up to its last step: secrets
# stored under key1 are re-encrypted under key2, and etcd says so. It runs on a control plane of its own, on loopback,
# and leaves nothing behind.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/demo/stage.sh"

# write_config FIRST SECOND writes an EncryptionConfiguration: secrets are written under FIRST, and SECOND is still read.
write_config() {
	cat > encryption.yaml <<-YAML
	apiVersion: apiserver.config.k8s.io/v1
	kind: EncryptionConfiguration
	resources:
	  - resources: [secrets]
	    providers:
	      - aescbc:
	          keys:
	            - {name: $1, secret: $(cat "$1")}
	            - {name: $2, secret: $(cat "$2")}
	      - identity: {}
	YAML
	sed 's/secret: .*}/secret: …}/' encryption.yaml
}

sha256() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d ' ' -f 1; }

# await_reload waits until the apiserver's metrics name the configuration as it is now, for a minute and a half at most.
await_reload() {
	metric="apiserver_encryption_config_controller_last_config_info{.*sha256:$(sha256 < encryption.yaml)"
	printf '$ kubectl get --raw /metrics | grep sha256:$(sha256sum < encryption.yaml)\n'
	tries=0
	until kubectl get --raw /metrics | grep "$metric"; do
		tries=$((tries + 1))
		[ "$tries" -lt 90 ] || fail 'the apiserver did not reload its encryption configuration'
		sleep 1
	done
}

# Real clusters write a secret now and then. Without that the in-tree controller waits, a minute or two, until the
# garbage collector's cache has heard of a revision as new as its own.
renew_a_token() {
	while sleep 1; do
		kubectl -n shop annotate secret db-1 --overwrite renewed="$(date +%s)" >/dev/null || true
	done
}

heading 'A control plane whose secrets are encrypted under key1'
head -c 32 /dev/urandom | base64 > key1
head -c 32 /dev/urandom | base64 > key2
write_config key1 key2
run 0 playground up --detach --encryption-provider-config encryption.yaml --encryption-reload-interval 1s
. plane/env
sh "$root/demo/secrets.sh" > secrets.yaml
printf '$ kubectl create -f secrets.yaml\n'
kubectl create -f secrets.yaml | tail -n 1

heading 'What lies in etcd'
run 0 svmctl audit

heading 'The configuration is turned: key2 comes first, key1 second'
write_config key2 key1
await_reload

heading 'The apiserver writes key2 from now on; what was there before is still under key1'
run 3 svmctl audit --prefix /registry/secrets --expect secrets=aescbc:key2 --max-findings 3

heading 'The in-tree controller rewrites the secrets, and etcd is read again (one secret is being written every second or so)'
renew_a_token &
background=$!
run 0 svmctl migrate secrets --to aescbc:key2 --backend svm --yes
dismiss

heading 'All of them are under key2'
run 0 svmctl audit --prefix /registry/secrets --expect secrets=aescbc:key2

heading 'With the file at hand every value is opened, and each key is known by what still needs it'
run 0 svmctl audit --encryption-provider-config encryption.yaml --prefix /registry/secrets

heading 'And back, this time with the file: which objects would an apiserver with it no longer read, and which rewrite?'
cp encryption.yaml in-force.yaml
write_config key1 key2
run 0 svmctl audit --prefix /registry/secrets --encryption-provider-config in-force.yaml --candidate encryption.yaml --max-findings 3
await_reload
run 3 svmctl keys --encryption-provider-config encryption.yaml --can-remove aescbc:key2

heading 'svmctl itself rewrites all that is stale, with no more than the verb patch, and leaves a signed bundle of it for the auditor'
signing_key
run 0 svmctl migrate --encryption-provider-config encryption.yaml --yes --evidence "$EVIDENCE/secrets" --cluster-label demo --reconcile-api --sign-key signing.key

heading 'What does the bundle say, and is it as it was made?'
show 0 'Verdict on the bundle: Complete' svmctl evidence verify "$EVIDENCE/secrets" --public-key "$EVIDENCE/secrets/signing-key.pub" --endpoints "$ETCDCTL_ENDPOINTS"
for claim in E1 E2 E3 E4 E5 E6; do
	grep -q "^SVM-$claim  pass" printed || fail "SVM-$claim does not pass"
done

heading 'The auditor draws a sample of what was signed'
run 0 svmctl evidence disclose "$EVIDENCE/secrets" --index 17 --etcd-key /registry/secrets/shop/db-1 --out sample.json
show 0 '2 records proven' svmctl evidence verify "$EVIDENCE/secrets" --sample sample.json

heading 'Can key2 be removed from the file?'
run 0 svmctl keys --encryption-provider-config encryption.yaml --can-remove aescbc:key2

heading 'What have the rotations left behind? A snapshot carries it along'
printf '$ etcdctl snapshot save before.db\n'
playground etcdctl snapshot save before.db >/dev/null 2>&1
run 0 svmctl audit --snapshot before.db --prefix /registry/secrets --encryption-provider-config encryption.yaml
run 3 svmctl residue before.db --encryption-provider-config encryption.yaml --fail

heading 'Compacted and defragmented, a new snapshot has nothing of it'
revision=$(svmctl audit -o json | sed -n 's/^    "revision": \([0-9]*\).*/\1/p')
run 0 playground etcdctl compact "$revision" --physical
run 0 playground etcdctl defrag
printf '$ etcdctl snapshot save after.db\n'
playground etcdctl snapshot save after.db >/dev/null 2>&1
run 0 svmctl residue after.db --encryption-provider-config encryption.yaml --fail

heading 'Which of them cannot be restored without which key?'
mkdir backups
mv before.db after.db backups/
run 0 svmctl keys --snapshots backups --encryption-provider-config encryption.yaml --can-remove aescbc:key2

heading 'Done'
