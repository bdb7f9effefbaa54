#!/bin/sh
# Writes the files by which the playground is built against another Kubernetes release than that of go.mod:
# `modfile.sh 1.34.4` writes go-1.34.mod and go-1.34.sum. They want what go.mod wants itself, with Kubernetes' modules
# at that release; what all those want in turn is found anew, as a release seldom compiles with another's choice.
set -eu

release=${1:?'want a Kubernetes release, as 1.34.4'}
minor=${release#1.}
minor=${minor%%.*}
cd "$(dirname "$0")"
modfile=go-1.$minor.mod
# Kubernetes' own go.mod names the modules that are released together with it. Outside of every module the download
# cannot touch a go.sum.
kubernetes=$(cd / && go mod download -json "k8s.io/kubernetes@v$release" | sed -n 's/^[[:space:]]*"GoMod": "\(.*\)",*$/\1/p')

{
	echo '// Written by modfile.sh after go.mod: make playground-modfiles.'
	awk -v release="v$release" -v staging="v0.${release#1.}" -v kubernetes="${kubernetes:?'no go.mod of that release'}" '
		BEGIN {
			while ((getline line < kubernetes) > 0)
				if (split(line, word) >= 3 && word[2] == "=>" && word[3] ~ /^\.\/staging\//)
					staged[word[1]]
		}
		/^replace / { exit }
		/\/\/ indirect/ { next }
		$1 == "k8s.io/kubernetes" { $0 = "\t" $1 " " release }
		$1 in staged { $0 = "\t" $1 " " staging }
		{ print }
		END {
			print "replace ("
			for (module in staged)
				print "\t" module " => " module " " staging
			print ")"
		}
	' go.mod
} >"$modfile"
go mod tidy -modfile="$modfile"
