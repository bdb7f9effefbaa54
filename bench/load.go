package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

const (
	payloadBytes  = 900 // of a secret's data; some 1.1 kB as it is stored
	putsPerTxn    = 100 // etcd takes 128
	loaders       = 8
	perNamespace  = 1_000
	aescbcPrefix  = "k8s:enc:aescbc:v1:key1:"
	aescbcIVBytes = 16
)

// loadValues puts values straight into etcd, as many as its argument says: secrets in the storage format, every other
// one replaced by random bytes behind the prefix and of the length that aescbc would give it.
func loadValues(ctx context.Context, args []string, stdout io.Writer) error {
	return load(ctx, args, stdout, storedSecret)
}

// loadSealed puts secrets straight into etcd, all of them really encrypted.
func loadSealed(ctx context.Context, args []string, stdout io.Writer) error {
	return load(ctx, args, stdout, sealedSecret(ctx))
}

func load(ctx context.Context, args []string, stdout io.Writer, make func(i int, random *rand.ChaCha8) (string, []byte, error)) error {
	if len(args) != 1 {
		return fmt.Errorf("loading values: want one argument, the number of them")
	}
	count, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("loading values: %w", err)
	}
	client, err := openEtcd(ctx, os.Environ())
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next, bytes atomic.Int64
	var wg sync.WaitGroup
	for worker := range loaders {
		wg.Go(func() {
			random := rand.NewChaCha8([32]byte{byte(worker)})
			for {
				first := int(next.Add(putsPerTxn)) - putsPerTxn
				if first >= count || ctx.Err() != nil {
					return
				}
				var ops []clientv3.Op
				for i := first; i < min(first+putsPerTxn, count); i++ {
					key, value, err := make(i, random)
					if err != nil {
						cancel(err)
						return
					}
					bytes.Add(int64(len(value)))
					ops = append(ops, clientv3.OpPut(key, string(value)))
				}
				if _, err := client.Txn(ctx).Then(ops...).Commit(); err != nil {
					cancel(fmt.Errorf("putting values: %w", err))
					return
				}
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, count, bytes.Load())
	return err
}

// storedSecret is the i-th secret as an apiserver would store it.
func storedSecret(i int, random *rand.ChaCha8) (key string, value []byte, err error) {
	namespace, name := fmt.Sprintf("team-%03d", i/perNamespace), fmt.Sprintf("credentials-%06d", i)
	data := make([]byte, payloadBytes)
	random.Read(data)
	secret := corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: namespace, UID: types.UID(fmt.Sprintf("11111111-2222-4333-8444-%012d", i)),
			CreationTimestamp: metav1.NewTime(time.Unix(1_700_000_000, 0)),
		},
		Data: map[string][]byte{"token": data},
		Type: corev1.SecretTypeOpaque,
	}
	raw, err := secret.Marshal()
	if err != nil {
		return "", nil, fmt.Errorf("encoding a secret: %w", err)
	}
	unknown := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: "Secret"}, Raw: raw}
	encoded, err := unknown.Marshal()
	if err != nil {
		return "", nil, fmt.Errorf("encoding a secret: %w", err)
	}
	value = append([]byte("k8s\x00"), encoded...)
	if i%2 == 1 {
		padded := len(value)/16*16 + 16
		value = append([]byte(aescbcPrefix), make([]byte, aescbcIVBytes+padded)...)
		random.Read(value[len(aescbcPrefix):])
	}
	return registry + "secrets/" + namespace + "/" + name, value, nil
}
