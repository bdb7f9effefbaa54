//go:build !unix

package snapshot

import (
	"errors"
	"os"
)

func mapFile(*os.File, int64) ([]byte, error) {
	return nil, errors.New("files cannot be mapped on this system")
}

func unmap([]byte) error { return nil }

func inUse(*os.File) bool { return false }

func unlock(*os.File) {}
