#!/bin/sh
# Both stories, one after the other, each on a control plane of its own on loopback. It leaves nothing behind but an evidence
# bundle of each, and fails when a step does not show what it says.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

# Bundles are never written over: those of the last demo go.
export EVIDENCE="$here/../bin/evidence"
rm -rf "$EVIDENCE"
mkdir -p "$EVIDENCE"
EVIDENCE=$(cd "$EVIDENCE" && pwd)

sh "$here/keys.sh"
sh "$here/crd.sh"

printf '\n== The control planes are gone; what is left of both stories are signed bundles, which verify as they are\n'
for story in secrets selfierequests; do
	printf '$ svmctl evidence verify %s\n' "$EVIDENCE/$story"
	"$here/../bin/svmctl" evidence verify "$EVIDENCE/$story"
done
printf '\n== To be read in a browser\n'
printf 'file://%s/report.html\n' "$EVIDENCE/secrets" "$EVIDENCE/selfierequests"
