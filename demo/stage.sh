# What the stories have in common: a directory that goes when they end, and how steps are shown and checked. It is
# sourced, with $root being the repository.
set -eu

PATH=$root/bin:$PATH
work=$(mktemp -d)
cd "$work"
export PLAYGROUND_DIR="$work/plane"
EVIDENCE=${EVIDENCE:-$work} # where bundles go
background= # process ids of what runs beside the story

cleanup() {
	status=$?
	trap - EXIT
	dismiss
	if [ -d plane ]; then playground down >/dev/null 2>&1 || true; fi
	cd / && rm -rf "$work"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# dismiss ends what runs beside the story.
dismiss() {
	for process in $background; do
		kill "$process" 2>/dev/null || true
		wait "$process" 2>/dev/null || true
	done
	background=
}

heading() { printf '\n== %s\n' "$*"; }
fail() { printf '\ndemo: %s\n' "$*" >&2; exit 1; }

# run STATUS COMMAND… shows a command as one would type it, runs it, and ends the demo unless it exits with STATUS.
run() {
	expected=$1
	shift
	printf '$ %s\n' "$*"
	status=0
	"$@" || status=$?
	[ "$status" -eq "$expected" ] || fail "'$*' exited with $status where $expected was expected"
}

# show STATUS TEXT COMMAND… does the same, and ends the demo as well unless the command prints TEXT.
show() {
	expected=$1
	text=$2
	shift 2
	printf '$ %s\n' "$*"
	status=0
	"$@" > printed 2>&1 || status=$?
	cat printed
	[ "$status" -eq "$expected" ] || fail "'$*' exited with $status where $expected was expected"
	grep -qF -e "$text" printed || fail "'$*' did not print '$text'"
}

# until_done COMMAND… repeats a command that the apiserver may still refuse for a moment, for ten seconds at most.
until_done() {
	tries=0
	until "$@" > printed 2>&1; do
		tries=$((tries + 1))
		[ "$tries" -lt 50 ] || { cat printed; fail "'$*' did not succeed within ten seconds"; }
		sleep 0.2
	done
}

kubectl() { playground kubectl "$@"; }

# signing_key makes a key to sign bundles with. Where there is no openssl, one that the control plane has made for itself stands in.
signing_key() {
	printf '$ openssl genpkey -algorithm ed25519 -out signing.key\n'
	if ! openssl genpkey -algorithm ed25519 -out signing.key 2>/dev/null; then cp plane/pki/webhook.key signing.key; fi
}
