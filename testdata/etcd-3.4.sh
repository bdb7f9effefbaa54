#!/bin/sh
# Puts Debian's etcd 3.4 at the path given, without installing it. Where there is no apt, or it has another etcd, no file
# is made, and the test that needs it says so.
set -u
out=$1
mkdir -p "$(dirname "$out")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
command -v apt-get >/dev/null || { echo "no apt-get: no etcd 3.4" >&2; exit 0; }
(cd "$tmp" && { apt-get download -q etcd-server || { apt-get update -q && apt-get download -q etcd-server; }; } && dpkg-deb -x etcd-server_*.deb .) >"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; echo "no etcd 3.4" >&2; exit 0; }
"$tmp/usr/bin/etcd" --version | grep -q '^etcd Version: 3\.4\.' || { echo "the system's etcd is not 3.4" >&2; exit 0; }
cp "$tmp/usr/bin/etcd" "$out"
