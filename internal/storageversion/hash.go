// Package storageversion tells the version behind the storageVersionHash by which an apiserver's discovery names the type
// that it stores a resource as. It asks nobody.
package storageversion

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
)

// Hash is the storageVersionHash of a type:
// https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/endpoints/discovery/storageversionhash.go
func Hash(group, version, kind string) string {
	sum := sha256.Sum256([]byte(group + "/" + version + "/" + kind))
	return base64.StdEncoding.EncodeToString(sum[:8])
}

// Recover finds the apiVersion behind a hash by trying: the served versions, then those that Kubernetes' own resources have
// ever had, each in every one of the groups. An apiserver may store at a version that it serves no more, or not yet:
// CustomResourceDefinitions are stored at v1beta1.
func Recover(hash, kind string, groups, served []string) (apiVersion string, found bool) {
	for _, version := range slices.Concat(served, usual) {
		for _, group := range groups {
			if Hash(group, version, kind) != hash {
				continue
			}
			if group == "" {
				return version, true
			}
			return group + "/" + version, true
		}
	}
	return "", false
}

// usual are the names that versions of Kubernetes' own resources have had.
var usual = func() []string {
	var versions []string
	for major := 1; major <= 3; major++ {
		versions = append(versions, fmt.Sprintf("v%d", major))
		for minor := 1; minor <= 5; minor++ {
			versions = append(versions, fmt.Sprintf("v%dbeta%d", major, minor), fmt.Sprintf("v%dalpha%d", major, minor))
		}
	}
	return versions
}()
