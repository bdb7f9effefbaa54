//go:build unix

package snapshot

import (
	"errors"
	"os"
	"syscall"
)

// mapFile gives a file's bytes to read. They are read from the disk when they are looked at, and belong to the page cache.
func mapFile(f *os.File, size int64) ([]byte, error) {
	if size != int64(int(size)) {
		return nil, errors.New("the file is too large to be mapped")
	}
	return syscall.Mmap(int(f.Fd()), 0, int(size), syscall.PROT_READ, syscall.MAP_SHARED)
}

func unmap(b []byte) error { return syscall.Munmap(b) }

// inUse tells whether another process holds the lock that etcd takes on its file. The lock is given back at once: an etcd that is
// started meanwhile must not have to wait.
func inUse(f *os.File) bool {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if err == nil {
		unlock(f)
	}
	return errors.Is(err, syscall.EWOULDBLOCK)
}

func unlock(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
