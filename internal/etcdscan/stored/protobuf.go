package stored

import "google.golang.org/protobuf/encoding/protowire"

// Field numbers of runtime.Unknown, of its TypeMeta, of every API object and of ObjectMeta.
// https://github.com/kubernetes/apimachinery/blob/v0.37.2/pkg/runtime/generated.proto
// https://github.com/kubernetes/apimachinery/blob/v0.37.2/pkg/apis/meta/v1/generated.proto
const (
	unknownTypeMeta        protowire.Number = 1
	unknownRaw             protowire.Number = 2
	unknownContentEncoding protowire.Number = 3
	unknownContentType     protowire.Number = 4

	typeMetaAPIVersion protowire.Number = 1
	typeMetaKind       protowire.Number = 2

	objectMetadata protowire.Number = 1

	metadataName              protowire.Number = 1
	metadataNamespace         protowire.Number = 3
	metadataDeletionTimestamp protowire.Number = 9
)

const contentTypeProtobuf = "application/vnd.kubernetes.protobuf"

// parseProtobuf reads a runtime.Unknown. The apiserver's encoder writes each of its four fields exactly once, the empty ones too,
// and no others, so a message that was cut off or has something behind its end is recognised whatever that is.
func parseProtobuf(message []byte) (Header, error) {
	var fields [5][]byte
	var seen [5]bool
	for len(message) > 0 {
		number, field, n := bytesField(message)
		if n < 0 || number > unknownContentType || seen[number] {
			return Header{}, ErrProtobuf
		}
		fields[number], seen[number] = field, true
		message = message[n:]
	}
	if seen != [5]bool{unknownTypeMeta: true, unknownRaw: true, unknownContentEncoding: true, unknownContentType: true} {
		return Header{}, ErrProtobuf
	}
	contentType := fields[unknownContentType]
	if len(fields[unknownContentEncoding]) > 0 || len(contentType) > 0 && string(contentType) != contentTypeProtobuf {
		return Header{}, ErrWrapped
	}
	var h Header
	if !h.readObject(fields[unknownRaw]) {
		return Header{}, ErrProtobuf
	}
	var typeFields [3][]byte
	for meta := fields[unknownTypeMeta]; len(meta) > 0; {
		number, field, n := bytesField(meta)
		if n < 0 || number > typeMetaKind || typeFields[number] != nil {
			return Header{}, ErrProtobuf
		}
		typeFields[number] = field
		meta = meta[n:]
	}
	var err error
	h.Type, err = typeNames(typeFields[typeMetaAPIVersion], typeFields[typeMetaKind])
	return h, err
}

// readObject walks all top-level fields of an object and reads its metadata. It is false when they are malformed.
func (h *Header) readObject(object []byte) bool {
	var metadata []byte
	for len(object) > 0 {
		number, wire, n := protowire.ConsumeTag(object)
		if n < 0 {
			return false
		}
		object = object[n:]
		switch wire {
		case protowire.BytesType:
			var field []byte
			if field, n = protowire.ConsumeBytes(object); n >= 0 && number == objectMetadata {
				metadata = field
			}
		case protowire.StartGroupType, protowire.EndGroupType: // no API object has groups
			return false
		default:
			n = protowire.ConsumeFieldValue(number, wire, object)
		}
		if n < 0 {
			return false
		}
		object = object[n:]
	}
	h.readMetadata(metadata)
	return true
}

// readMetadata reads an ObjectMeta. Objects that are not stored (reviews, lists) have something else there, so what is no
// ObjectMeta leaves the names empty, and they are then not those of any key.
func (h *Header) readMetadata(metadata []byte) {
	var name, namespace []byte
	terminating := false
	for len(metadata) > 0 {
		number, wire, n := protowire.ConsumeTag(metadata)
		if n < 0 {
			return
		}
		metadata = metadata[n:]
		var field []byte
		if wire == protowire.BytesType {
			field, n = protowire.ConsumeBytes(metadata)
		} else {
			n = protowire.ConsumeFieldValue(number, wire, metadata)
		}
		if n < 0 {
			return
		}
		metadata = metadata[n:]
		switch number {
		case metadataName:
			name = field
		case metadataNamespace:
			namespace = field
		case metadataDeletionTimestamp:
			terminating = true
		}
	}
	h.Name, h.Namespace, h.Terminating = string(name), string(namespace), terminating
}

// bytesField consumes one length-delimited field; n is negative when there is none.
func bytesField(b []byte) (number protowire.Number, field []byte, n int) {
	number, wire, n := protowire.ConsumeTag(b)
	if n < 0 || wire != protowire.BytesType {
		return 0, nil, -1
	}
	field, m := protowire.ConsumeBytes(b[n:])
	if m < 0 {
		return 0, nil, -1
	}
	return number, field, n + m
}
