package node

import (
	"path"
	"slices"
	"strings"
)

type volume struct {
	Name     string `json:"name"`
	HostPath *struct {
		Path string `json:"path"`
	} `json:"hostPath"`
}

type mount struct {
	Name        string `json:"name"`
	MountPath   string `json:"mountPath"`
	SubPath     string `json:"subPath"`
	SubPathExpr string `json:"subPathExpr"`
}

// toHost is the host's path of a file in the container, through the mount with the longest path above it. ok is false
// when the file is in the image, or in a volume that is not the host's: a projected one lies somewhere below the
// kubelet's directory, under names that the manifest does not say.
func (p staticPod) toHost(file string) (string, bool) {
	file = path.Clean(file)
	var (
		longest mount
		rest    string
		mounted bool
	)
	for _, m := range p.container.VolumeMounts {
		m.MountPath = path.Clean("/" + m.MountPath)
		below, ok := under(m.MountPath, file)
		if ok && (!mounted || len(m.MountPath) > len(longest.MountPath)) {
			longest, rest, mounted = m, below, true
		}
	}
	if !mounted || longest.SubPathExpr != "" || slices.Contains(strings.Split(longest.SubPath, "/"), "..") {
		return "", false
	}
	for _, v := range p.pod.Spec.Volumes {
		if v.Name == longest.Name && v.HostPath != nil {
			dir, ok := absolute(v.HostPath.Path)
			if !ok {
				return "", false
			}
			return absolute(path.Join(dir, longest.SubPath, rest))
		}
	}
	return "", false
}

// under is what follows dir in the path of a file at or below it. Both are clean.
func under(dir, file string) (string, bool) {
	if dir == "/" || file == dir {
		return strings.TrimPrefix(file, dir), true
	}
	return strings.CutPrefix(file, dir+"/")
}
