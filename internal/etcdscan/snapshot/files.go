package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// Files lists what paths name: each file, and of a directory all files in and below it. A data directory of etcd is listed as one, and what lies in it beside its
// member besides.
func Files(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		err := filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil && name == path:
				return err
			case err != nil, !entry.IsDir():
				files = append(files, name) // to open it tells why it cannot be
			case isDataDir(name):
				files = append(files, name)
			case isMember(name) && name != path && isDataDir(filepath.Dir(name)):
				return fs.SkipDir // it is listed
			case isMember(name):
				files = append(files, name)
			case name != path && (entry.Name() == "snap" || entry.Name() == "wal") && isMember(filepath.Dir(name)):
				return fs.SkipDir
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("looking for snapshots: %w", err)
		}
	}
	if len(files) == 0 {
		return nil, errors.New("looking for snapshots: there is no file in " + strings.Join(paths, ", "))
	}
	return files, nil
}

func isDataDir(path string) bool { return isMember(filepath.Join(path, "member")) }

// isMember tells the directory of a member, which a data directory has one of.
func isMember(path string) bool { return isFile(filepath.Join(path, "snap", "db")) }
