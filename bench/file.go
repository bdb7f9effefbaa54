package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

const (
	writesPerCommit = 10_000 // etcd's own limit
	etcdFill        = 0.9    // how full etcd leaves the pages of what it only ever adds to
	touched         = 64     // bytes of each value that the bare cursor looks at
)

// etcdBuckets are all that etcd has in its file.
var etcdBuckets = []string{"alarm", "auth", "authRoles", "authUsers", "cluster", "key", "lease", "members", "members_removed", "meta"}

// makeFile writes a snapshot as etcdctl saves one, and prints how many bytes of values are in it. Its arguments are the path, and
// the number of keys: the secrets that loadValues puts into an etcd. They are written in turns over the namespaces, as teams would,
// so that the order of their revisions is not that of their keys.
func makeFile(ctx context.Context, args []string, stdout io.Writer) error {
	path, count, err := pathAndCount(args)
	if err != nil {
		return fmt.Errorf("making a snapshot: %w", err)
	}
	size, err := writeDatabase(ctx, path, count)
	if err != nil {
		return fmt.Errorf("making a snapshot: %w", err)
	}
	sum, err := hashFile(path)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("adding the digest: %w", err)
	}
	defer file.Close()
	if _, err := file.Write(sum); err != nil {
		return fmt.Errorf("adding the digest: %w", err)
	}
	if err := file.Sync(); err != nil { // and not while others are measured
		return fmt.Errorf("adding the digest: %w", err)
	}
	_, err = fmt.Fprintln(stdout, size)
	return err
}

func pathAndCount(args []string) (path string, count int, err error) {
	if len(args) != 2 {
		return "", 0, fmt.Errorf("want a path and a number, not %q", args)
	}
	count, err = strconv.Atoi(args[1])
	return args[0], count, err
}

func writeDatabase(ctx context.Context, path string, count int) (size int, err error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true})
	if err != nil {
		return 0, err
	}
	defer db.Close()
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range etcdBuckets {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	random := rand.NewChaCha8([32]byte{})
	namespaces := (count + perNamespace - 1) / perNamespace
	revision := int64(2)
	for from := 0; from < namespaces*perNamespace; from += writesPerCommit {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		err := db.Update(func(tx *bbolt.Tx) error {
			bucket := tx.Bucket([]byte("key"))
			bucket.FillPercent = etcdFill
			for n := from; n < min(from+writesPerCommit, namespaces*perNamespace); n++ {
				i := n%namespaces*perNamespace + n/namespaces
				if i >= count {
					continue
				}
				written, err := put(bucket, revision, i, random)
				if err != nil {
					return err
				}
				size, revision = size+written, revision+1
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return size, nil
}

// put writes the i-th secret as etcd does, and gives back the size of its value.
func put(bucket *bbolt.Bucket, revision int64, i int, random *rand.ChaCha8) (int, error) {
	key, value, err := storedSecret(i, random)
	if err != nil {
		return 0, err
	}
	encoded, err := proto.Marshal(&mvccpb.KeyValue{Key: []byte(key), Value: value, CreateRevision: revision, ModRevision: revision, Version: 1})
	if err != nil {
		return 0, err
	}
	name := append(binary.BigEndian.AppendUint64(nil, uint64(revision)), '_', 0, 0, 0, 0, 0, 0, 0, 0)
	return len(value), bucket.Put(name, encoded)
}

// drainFile is the least that reading all of a database can be: one cursor, and a look at how each value begins. With a second
// argument it then hashes the file, as whoever wants to name what was read has to.
func drainFile(_ context.Context, args []string, stdout io.Writer) error {
	if len(args) < 1 || len(args) > 2 {
		return fmt.Errorf("draining a snapshot: want a path, not %q", args)
	}
	db, err := bbolt.Open(args[0], 0, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("draining a snapshot: %w", err)
	}
	defer db.Close()
	keys, sum := 0, 0
	err = db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte("key")).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			keys++
			for _, b := range v[:min(touched, len(v))] {
				sum += int(b)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("draining a snapshot: %w", err)
	}
	if len(args) == 2 {
		digest, err := hashFile(args[0])
		if err != nil {
			return err
		}
		sum += int(digest[0])
	}
	_, err = fmt.Fprintln(stdout, keys, sum > 0)
	return err
}

func hashFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("hashing the snapshot: %w", err)
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := bufio.NewReaderSize(file, 1<<20).WriteTo(hash); err != nil {
		return nil, fmt.Errorf("hashing the snapshot: %w", err)
	}
	return hash.Sum(nil), nil
}
