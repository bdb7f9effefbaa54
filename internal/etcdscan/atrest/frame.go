package atrest

import (
	"bytes"
	"encoding/hex"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Sizes that the ciphers add to a plaintext.
// https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/storage/value/encrypt/aes/aes.go
// https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/storage/value/encrypt/aes/aes_extended_nonce.go
// https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/storage/value/encrypt/secretbox/secretbox.go
const (
	aesBlock          = 16
	gcmOverhead       = 12 + 16 // nonce, tag
	gcmInfo           = 32      // in front of the nonce when the KMS v2 key is derived from a seed
	secretboxOverhead = 24 + 16 // nonce, tag
)

// possibleAESCBC: an IV and at least one block, because the padding is never empty.
func possibleAESCBC(body []byte) bool {
	return len(body) >= 2*aesBlock && len(body)%aesBlock == 0
}

func possibleAESGCM(body []byte) bool { return len(body) >= gcmOverhead }

func possibleSecretbox(body []byte) bool { return len(body) >= secretboxOverhead }

// possibleKMSv1: the encrypted data key behind its big-endian 16-bit length, then AES-GCM, or AES-CBC from releases before 1.25.
// https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/storage/value/encrypt/envelope/envelope.go
func possibleKMSv1(body []byte) bool {
	if len(body) < 2 {
		return false
	}
	dek := int(body[0])<<8 | int(body[1])
	return len(body) >= 2+dek+gcmOverhead
}

// Bounds that the apiserver checks on reading and writing an EncryptedObject.
// https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/storage/value/encrypt/envelope/kmsv2/envelope.go
const (
	maxKeyID       = 1 << 10
	maxDEKSource   = 1 << 10
	maxAnnotations = 32 << 10
)

// Field numbers and enum values of EncryptedObject.
// https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/storage/value/encrypt/envelope/kmsv2/v2/api.proto
const (
	fieldEncryptedData protowire.Number = 1
	fieldKeyID         protowire.Number = 2
	fieldDEKSource     protowire.Number = 3
	fieldAnnotations   protowire.Number = 4
	fieldSourceType    protowire.Number = 5

	sourceKey  = 0 // the data key itself
	sourceSeed = 1 // a seed from which each value's key is derived
)

// keyID checks a KMS v2 body as the apiserver does and returns its keyID, ready to be shown. It is stricter than the apiserver with
// what none writes: fields that EncryptedObject does not have, and ciphertext too short for its cipher. A body that was cut off
// exactly in front of the last, optional fields cannot be told from a whole one; it will not open.
func keyID(body []byte) (string, bool) {
	var id, data, dek []byte
	var sourceType uint64
	annotations := 0
	for len(body) > 0 {
		number, wire, n := protowire.ConsumeTag(body)
		if n < 0 {
			return "", false
		}
		body = body[n:]
		if number == fieldSourceType && wire == protowire.VarintType {
			if sourceType, n = protowire.ConsumeVarint(body); n < 0 {
				return "", false
			}
			body = body[n:]
			continue
		}
		if wire != protowire.BytesType {
			return "", false
		}
		field, n := protowire.ConsumeBytes(body)
		if n < 0 {
			return "", false
		}
		body = body[n:]
		switch number {
		case fieldEncryptedData:
			data = field
		case fieldKeyID:
			id = field
		case fieldDEKSource:
			dek = field
		case fieldAnnotations:
			size, ok := annotation(field)
			if annotations += size; !ok || annotations > maxAnnotations {
				return "", false
			}
		default:
			return "", false
		}
	}
	least := gcmOverhead
	switch sourceType {
	case sourceKey:
	case sourceSeed:
		least += gcmInfo
	default:
		return "", false
	}
	if len(data) < least || len(dek) == 0 || len(dek) > maxDEKSource || len(id) == 0 || len(id) > maxKeyID || !utf8.Valid(id) {
		return "", false
	}
	if plainKeyID(id) {
		return names.intern(id), true
	}
	return hexKeyID + hex.EncodeToString(id), true
}

// annotation reads one entry of the annotations map and returns the size of its key and value. The key is a domain name.
func annotation(entry []byte) (size int, ok bool) {
	named := false
	for len(entry) > 0 {
		number, wire, n := protowire.ConsumeTag(entry)
		if n < 0 || wire != protowire.BytesType || number > 2 {
			return 0, false
		}
		entry = entry[n:]
		field, n := protowire.ConsumeBytes(entry)
		if n < 0 {
			return 0, false
		}
		entry = entry[n:]
		size += len(field)
		if number == 1 {
			named = len(field) > 0 && utf8.Valid(field)
		}
	}
	return size, named
}

const hexKeyID = "hex:"

// ShowKeyID writes a KMS v2 keyID for people and reports: as it is when it is printable, else "hex:" and its bytes. Kubernetes
// demands nothing but 1 to 1024 bytes of UTF-8, and two keyIDs must never look alike, so one that itself starts with "hex:" is
// written in hex too. A keyID is no secret: it lies in clear in etcd, and Encryption.KeyID is always in this form.
func ShowKeyID(id string) string {
	if plainKeyID([]byte(id)) {
		return id
	}
	return hexKeyID + hex.EncodeToString([]byte(id))
}

func plainKeyID(id []byte) bool {
	return utf8.Valid(id) && !bytes.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) }) &&
		!bytes.HasPrefix(id, []byte(hexKeyID))
}
