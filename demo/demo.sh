#!/bin/sh
# Both stories, one after the other, each on a control plane of its own on loopback. It leaves nothing behind, and fails
# when a step does not show what it says.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

sh "$here/keys.sh"
sh "$here/crd.sh"
