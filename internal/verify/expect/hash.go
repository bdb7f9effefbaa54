package expect

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
)

// storageVersionHash is how discovery names the type that an apiserver stores a resource as:
// https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/endpoints/discovery/storageversionhash.go
func storageVersionHash(group, version, kind string) string {
	sum := sha256.Sum256([]byte(group + "/" + version + "/" + kind))
	return base64.StdEncoding.EncodeToString(sum[:8])
}

// unserved are the versions that Kubernetes' own resources have had. An apiserver may store at one that it serves no
// more, or not yet: CustomResourceDefinitions are stored at v1beta1.
var unserved = func() []string {
	var versions []string
	for major := 1; major <= 3; major++ {
		versions = append(versions, fmt.Sprintf("v%d", major))
		for minor := 1; minor <= 5; minor++ {
			versions = append(versions, fmt.Sprintf("v%dbeta%d", major, minor), fmt.Sprintf("v%dalpha%d", major, minor))
		}
	}
	return versions
}()

// recoverVersion finds the apiVersion behind a hash by trying: the served versions, then those that Kubernetes has ever
// used, in the resource's own group and in the one that it shares its objects with.
func recoverVersion(hash, kind string, groups, served []string) (apiVersion string, found bool) {
	for _, version := range slices.Concat(served, unserved) {
		for _, group := range groups {
			if storageVersionHash(group, version, kind) != hash {
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
