package snapshot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Files lists what paths name: each file, and of a directory that is no data directory of etcd the files in it and the data
// directories right below it.
func Files(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return nil, fmt.Errorf("looking for snapshots: %w", err)
		case !info.IsDir() || isDataDir(path):
			files = append(files, path)
			continue
		}
		inside, err := os.ReadDir(path)
		if err != nil {
			return nil, fmt.Errorf("looking for snapshots: %w", err)
		}
		for _, entry := range inside {
			name := filepath.Join(path, entry.Name())
			if info, err := os.Stat(name); err == nil && info.IsDir() && !isDataDir(name) {
				continue
			}
			files = append(files, name)
		}
	}
	if len(files) == 0 {
		return nil, errors.New("looking for snapshots: there is no file in " + strings.Join(paths, ", "))
	}
	return files, nil
}

func isDataDir(path string) bool { return isFile(filepath.Join(path, "member", "snap", "db")) }
