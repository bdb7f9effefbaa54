package decrypt

import (
	"context"
	"crypto/aes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope"

	aestransformer "k8s.io/apiserver/pkg/storage/value/encrypt/aes"

	"github.com/svmctl/svmctl/internal/encryption"
)

// kmsV1 opens values of one KMS v1 provider: an encrypted data key, and what it encrypts.
type kmsV1 struct {
	*plugin
	service envelope.Service
}

func newKMSv1(ctx context.Context, k encryption.Key, timeout time.Duration) (*kmsV1, error) {
	s, err := envelope.NewGRPCService(ctx, k.Endpoint, timeout)
	if err != nil {
		return nil, errors.New("its endpoint cannot be used")
	}
	return &kmsV1{newPlugin(k), s}, nil
}

func (k *kmsV1) bound() bool { return true }

func (k *kmsV1) open(ctx context.Context, body []byte, etcdKey string) ([]byte, bool, error) {
	data, opens, err := k.of(body)
	if err != nil {
		return nil, false, err
	}
	return opens.open(ctx, data, etcdKey)
}

func (k *kmsV1) peek(ctx context.Context, body []byte) []byte {
	data, opens, err := k.of(body)
	if err != nil {
		return nil
	}
	return opens.peek(ctx, data)
}

var errNoEnvelope = errors.New("no KMS v1 envelope")

func (k *kmsV1) of(body []byte) (data []byte, opens keyCipher, err error) {
	encrypted, data, ok := envelopeV1(body)
	if !ok {
		return nil, nil, errNoEnvelope
	}
	opens, err = k.dek(sha256.Sum256(encrypted), func() (keyCipher, error) {
		secret, err := k.service.Decrypt(encrypted)
		if err != nil {
			return nil, err
		}
		return newDataKeyV1(secret)
	})
	return data, opens, err
}

// envelopeV1 takes a value apart: a length of two bytes, so many bytes of encrypted data key, and the data.
func envelopeV1(body []byte) (encrypted, data []byte, ok bool) {
	if len(body) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(body))
	if len(body) < 2+n {
		return nil, nil, false
	}
	return body[2 : 2+n], body[2+n:], true
}

// dataKeyV1 is AES-GCM, and AES-CBC for what releases before 1.25 wrote.
type dataKeyV1 struct {
	*gcm
	older *cbc
}

func newDataKeyV1(secret []byte) (keyCipher, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, errRefused
	}
	newer, err := newGCM(block)
	if err != nil {
		return nil, errRefused
	}
	return &dataKeyV1{newer, &cbc{aestransformer.NewCBCTransformer(block), block}}, nil
}

func (d *dataKeyV1) open(ctx context.Context, body []byte, etcdKey string) ([]byte, bool, error) {
	payload, vouched, err := d.gcm.open(ctx, body, etcdKey)
	if err == nil {
		return payload, vouched, nil
	}
	if payload, _, olderErr := d.older.open(ctx, body, etcdKey); olderErr == nil {
		return payload, false, nil
	}
	return nil, false, err
}
