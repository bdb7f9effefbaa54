#!/bin/sh
# Links a Chromium to the path given: the system's, or else Debian's without a window, which is installed. Where there is no apt, or
# nobody may install anything, no link is made, and the test that needs it says so.
set -u
out=$1
mkdir -p "$(dirname "$out")"
find() {
  for browser in /usr/lib/chromium/chromium-headless-shell /usr/bin/chromium-headless-shell /usr/bin/chromium /usr/bin/chromium-browser /usr/bin/google-chrome; do
    [ -x "$browser" ] && ln -sfn "$browser" "$out" && return
  done
  return 1
}
find && exit
command -v apt-get >/dev/null || { echo "no apt-get: no Chromium" >&2; exit 0; }
[ "$(id -u)" = 0 ] || { echo "no Chromium, and only root can install one" >&2; exit 0; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
{ apt-get install -qy --no-install-recommends chromium-headless-shell || { apt-get update -q && apt-get install -qy --no-install-recommends chromium-headless-shell; }; } >"$log" 2>&1 || { cat "$log" >&2; echo "no Chromium" >&2; exit 1; }
find
