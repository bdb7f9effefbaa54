package evidence

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// ErrOtherCluster means that a bundle cannot follow another one: it speaks of something else.
var ErrOtherCluster = errors.New("it is a bundle of another cluster")

// sameCluster tells whether a statement speaks of a cluster, as far as both say which it is.
func sameCluster(s *Statement, cluster Cluster) bool {
	other := s.Predicate.Cluster
	uid := other.KubeSystemNamespaceUID == "" || cluster.KubeSystemNamespaceUID == "" || other.KubeSystemNamespaceUID == cluster.KubeSystemNamespaceUID
	return uid && other.EtcdClusterID == cluster.EtcdClusterID
}

// Named names the statement of a bundle that was named, for the one of a cluster that follows it. A file may follow any.
func Named(dir string, cluster Cluster) (*Previous, error) {
	s, err := ReadStatement(dir)
	if err != nil {
		return nil, err
	}
	if cluster.EtcdClusterID != "" && s.Predicate.Cluster.EtcdClusterID != "" && !sameCluster(s, cluster) {
		return nil, ErrOtherCluster
	}
	return Before(dir)
}

// Before names the statement of a bundle, for the one that follows it.
func Before(dir string) (*Previous, error) {
	text, err := os.ReadFile(filepath.Join(dir, StatementFile))
	if err != nil {
		return nil, err
	}
	s, err := ReadStatement(dir)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	revision, _ := strconv.ParseInt(s.Predicate.AsOf.EtcdRevision, 10, 64)
	return &Previous{SHA256: hex.EncodeToString(sum[:]), Revision: revision, ScannedAt: s.Predicate.AsOf.ScanFinishedAt}, nil
}

// Newest is the newest bundle of a cluster among those in a directory, made before a time; nil if there is none. What is no bundle is
// passed over.
func Newest(dir string, cluster Cluster, before time.Time) *Previous {
	if cluster.EtcdClusterID == "" {
		return nil // nothing tells which bundles are of this cluster
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var newest *Previous
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if !e.IsDir() || !IsBundle(path) {
			continue
		}
		s, err := ReadStatement(path)
		if err != nil || !sameCluster(s, cluster) {
			continue
		}
		p, err := Before(path)
		if err == nil && p.ScannedAt.Before(before) && (newest == nil || p.ScannedAt.After(newest.ScannedAt)) {
			newest = p
		}
	}
	return newest
}
