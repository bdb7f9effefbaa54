package decrypt

import (
	"context"
	"crypto/aes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apiserver/pkg/storage/value"
	aestransformer "k8s.io/apiserver/pkg/storage/value/encrypt/aes"
	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2"
	kmstypes "k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2/v2"
	"k8s.io/kms/pkg/service"

	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
)

// kmsV2 opens values of one KMS v2 provider. The apiserver's own envelope transformer is not used: it has the plugin encrypt
// something before it decrypts, and keeps an entry for every etcd key.
type kmsV2 struct {
	*plugin
	service service.Service
}

func newKMSv2(ctx context.Context, k encryption.Key, timeout time.Duration) (*kmsV2, error) {
	s, err := kmsv2.NewGRPCService(ctx, k.Endpoint, k.Name, timeout)
	if err != nil {
		return nil, errors.New("its endpoint cannot be used")
	}
	return &kmsV2{newPlugin(k), s}, nil
}

func (k *kmsV2) bound() bool { return true }

func (k *kmsV2) open(ctx context.Context, body []byte, etcdKey string) ([]byte, bool, error) {
	data, opens, err := k.of(ctx, body)
	if err != nil {
		return nil, false, err
	}
	return opens.open(ctx, data, etcdKey)
}

func (k *kmsV2) peek(ctx context.Context, body []byte) []byte {
	data, opens, err := k.of(ctx, body)
	if err != nil {
		return nil
	}
	return opens.peek(ctx, data)
}

// of takes an encrypted object apart, and finds its data key.
func (k *kmsV2) of(ctx context.Context, body []byte) (data []byte, opens keyCipher, err error) {
	o := new(kmstypes.EncryptedObject)
	if err := proto.Unmarshal(body, o); err != nil {
		return nil, nil, err
	}
	if err := kmsv2.ValidateEncryptedObject(o); err != nil {
		return nil, nil, err
	}
	opens, err = k.dek(digestV2(o), func() (keyCipher, error) {
		secret, err := k.service.Decrypt(ctx, string(uuid.NewUUID()), &service.DecryptRequest{
			Ciphertext: o.EncryptedDEKSource, KeyID: o.KeyID, Annotations: o.Annotations,
		})
		if err != nil {
			return nil, err
		}
		if o.EncryptedDEKSourceType == kmstypes.EncryptedDEKSourceType_HKDF_SHA256_XNONCE_AES_GCM_SEED {
			return newSeed(secret)
		}
		return newDataKey(secret)
	})
	return o.EncryptedData, opens, err
}

// digestV2 names an encrypted data key by all that the plugin is given with it.
func digestV2(o *kmstypes.EncryptedObject) digest {
	h := sha256.New()
	add := func(b []byte) {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b))))
		h.Write(b)
	}
	add([]byte{byte(o.EncryptedDEKSourceType)})
	add(o.EncryptedDEKSource)
	add([]byte(o.KeyID))
	for _, name := range slices.Sorted(maps.Keys(o.Annotations)) {
		add([]byte(name))
		add(o.Annotations[name])
	}
	return digest(h.Sum(nil))
}

// State is what a KMS v2 plugin says of itself.
type State struct {
	KeyID string // as atrest.ShowKeyID writes it
	Err   error  // why it is not known; fixed words
}

// current asks the plugin for the key that it encrypts with.
func (k *kmsV2) current(ctx context.Context) State {
	s, err := k.service.Status(ctx)
	switch {
	case err != nil:
		return State{Err: pluginError(err)}
	case s.Healthz != "ok":
		return State{Err: errors.New("the KMS plugin does not call itself healthy")}
	}
	if _, err := kmsv2.ValidateKeyID(s.KeyID); err != nil {
		return State{Err: errors.New("the KMS plugin names no usable key ID")}
	}
	return State{KeyID: atrest.ShowKeyID(s.KeyID)}
}

// newDataKey is a data key that encrypts values itself.
func newDataKey(secret []byte) (keyCipher, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, errRefused
	}
	return newGCM(block)
}

// seed is a data key from which that of each value is derived.
type seed struct {
	secret []byte
	reader atomic.Pointer[seedReader]
}

// seedReader is the apiserver's transformer, which keeps an entry for every etcd key it has seen.
type seedReader struct {
	value.Read
	left atomic.Int64
}

// readsPerSeed bounds those entries.
const readsPerSeed = 1024

func newSeed(secret []byte) (keyCipher, error) {
	if len(secret) < aestransformer.MinSeedSizeExtendedNonceGCM {
		return nil, errRefused
	}
	return &seed{secret: secret}, nil
}

func (s *seed) open(ctx context.Context, body []byte, etcdKey string) ([]byte, bool, error) {
	r := s.reader.Load()
	if r == nil || r.left.Add(-1) < 0 {
		t, err := aestransformer.NewHKDFExtendedNonceGCMTransformer(s.secret)
		if err != nil {
			return nil, false, fmt.Errorf("deriving a data key: %w", err)
		}
		r = &seedReader{Read: t}
		r.left.Store(readsPerSeed)
		s.reader.Store(r)
	}
	payload, _, err := r.TransformFromStorage(ctx, body, value.DefaultContext(etcdKey))
	return payload, true, err
}

// peek derives the data key as the apiserver does:
// https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/storage/value/encrypt/aes/aes_extended_nonce.go
func (s *seed) peek(ctx context.Context, body []byte) []byte {
	const info = 32
	if len(body) < info {
		return nil
	}
	secret, err := hkdf.Expand(sha256.New, s.secret, string(body[:info]), 32)
	if err != nil {
		return nil
	}
	opens, err := newDataKey(secret)
	if err != nil {
		return nil
	}
	return opens.peek(ctx, body[info:])
}
