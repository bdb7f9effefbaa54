package decrypt

import (
	"context"
	"crypto/aes"
	stdcipher "crypto/cipher"
	"encoding/base64"
	"errors"

	"golang.org/x/crypto/salsa20"
	"k8s.io/apiserver/pkg/storage/value"
	aestransformer "k8s.io/apiserver/pkg/storage/value/encrypt/aes"
	"k8s.io/apiserver/pkg/storage/value/encrypt/secretbox"

	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
)

const (
	gcmNonce       = 12
	gcmTag         = 16
	secretboxNonce = 24
	secretboxTag   = 16
)

// newLocal makes the cipher of a key whose material is in the file.
func newLocal(provider atrest.Provider, secret string) (cipher, error) {
	material, err := base64.StdEncoding.DecodeString(secret)
	if err != nil {
		return nil, errors.New("its secret is not base64") // err names a place in it
	}
	if provider == atrest.Secretbox {
		if len(material) != 32 {
			return nil, errors.New("its secret does not have 32 bytes")
		}
		return &box{secretbox.NewSecretboxTransformer([32]byte(material)), [32]byte(material)}, nil
	}
	block, err := aes.NewCipher(material)
	if err != nil {
		return nil, err // it tells the size
	}
	if provider == atrest.AESCBC {
		return &cbc{aestransformer.NewCBCTransformer(block), block}, nil
	}
	return newGCM(block)
}

// cbc is AES-CBC, which vouches for nothing.
type cbc struct {
	value.Read
	block stdcipher.Block
}

func (c *cbc) open(ctx context.Context, body []byte, etcdKey string) ([]byte, bool, error) {
	if len(body) < 2*aes.BlockSize {
		return nil, false, errors.New("there is no block after the initialization vector") // over which the transformer panics
	}
	payload, _, err := c.TransformFromStorage(ctx, body, value.DefaultContext(etcdKey))
	return payload, false, err
}

func (c *cbc) bound() bool { return false }

func (c *cbc) peek(_ context.Context, body []byte) []byte {
	if len(body) < 2*aes.BlockSize {
		return nil
	}
	iv, body := body[:aes.BlockSize], body[aes.BlockSize:]
	out := make([]byte, len(body)/aes.BlockSize*aes.BlockSize)
	stdcipher.NewCBCDecrypter(c.block, iv).CryptBlocks(out, body[:len(out)])
	return out
}

// gcm is AES-GCM.
type gcm struct {
	value.Read
	block stdcipher.Block
}

func newGCM(block stdcipher.Block) (*gcm, error) {
	t, err := aestransformer.NewGCMTransformer(block)
	if err != nil {
		return nil, err
	}
	return &gcm{t, block}, nil
}

func (g *gcm) open(ctx context.Context, body []byte, etcdKey string) ([]byte, bool, error) {
	payload, _, err := g.TransformFromStorage(ctx, body, value.DefaultContext(etcdKey))
	return payload, true, err
}

func (g *gcm) bound() bool { return true }

// peek is the counter mode inside GCM, whose second block is the first of the data.
func (g *gcm) peek(_ context.Context, body []byte) []byte {
	if len(body) < gcmNonce+gcmTag {
		return nil
	}
	counter := append(body[:gcmNonce:gcmNonce], 0, 0, 0, 2)
	body = body[gcmNonce : len(body)-gcmTag]
	out := make([]byte, len(body))
	stdcipher.NewCTR(g.block, counter).XORKeyStream(out, body)
	return out
}

// box is NaCl's secretbox, which vouches for the payload and knows no etcd key.
type box struct {
	value.Read
	key [32]byte
}

func (b *box) open(ctx context.Context, body []byte, etcdKey string) ([]byte, bool, error) {
	payload, _, err := b.TransformFromStorage(ctx, body, value.DefaultContext(etcdKey))
	return payload, true, err
}

func (b *box) bound() bool { return false }

// peek is the stream cipher inside secretbox, whose first 32 bytes are the key of the authenticator.
func (b *box) peek(_ context.Context, body []byte) []byte {
	if len(body) < secretboxNonce+secretboxTag {
		return nil
	}
	const authenticator = 32
	in := append(make([]byte, authenticator), body[secretboxNonce+secretboxTag:]...)
	salsa20.XORKeyStream(in, in, body[:secretboxNonce], &b.key)
	return in[authenticator:]
}
