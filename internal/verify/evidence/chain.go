package evidence

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

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
	if cluster.KubeSystemNamespaceUID == "" && cluster.EtcdClusterID == "" {
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
		if err != nil || s.Predicate.Cluster.KubeSystemNamespaceUID != cluster.KubeSystemNamespaceUID || s.Predicate.Cluster.EtcdClusterID != cluster.EtcdClusterID {
			continue
		}
		p, err := Before(path)
		if err == nil && p.ScannedAt.Before(before) && (newest == nil || p.ScannedAt.After(newest.ScannedAt)) {
			newest = p
		}
	}
	return newest
}
