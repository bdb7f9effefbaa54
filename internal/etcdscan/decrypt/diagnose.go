package decrypt

import (
	"bytes"
	"context"
	"strings"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/etcdscan/stored"
)

// diagnose tells why none of the keys that a value claims opens it. It decides nothing: whatever it says, the value is not open.
func diagnose(ctx context.Context, failed []*lock, o key.Object, k string, value []byte) etcdscan.Obstacle {
	for _, l := range failed {
		body := value[len(l.prefix):]
		payload := l.cipher.peek(ctx, body)
		fits := plausible(payload)
		moved := fits && l.cipher.bound() && movedFrom(ctx, l, o, k, payload, body)
		clear(payload)
		switch {
		case moved:
			return etcdscan.Moved
		case fits:
			return etcdscan.Damaged
		}
	}
	return etcdscan.OtherMaterial
}

// movedFrom tells whether a value authenticates for the etcd key that its own metadata names.
func movedFrom(ctx context.Context, l *lock, o key.Object, k string, payload, body []byte) bool {
	header, err := stored.Parse(payload)
	if err != nil || o.Resource == "" {
		return false
	}
	own := o.Name
	named := header.Name
	if o.Namespace != "" {
		own, named = o.Namespace+"/"+o.Name, header.Namespace+"/"+header.Name
	}
	dir, ok := strings.CutSuffix(k, own)
	if !ok || named == own {
		return false
	}
	again, _, err := l.cipher.open(ctx, body, dir+named)
	clear(again)
	return err == nil
}

const (
	fewest = 64  // bytes that tell text from chance
	most   = 512 // bytes that are looked at
	text   = 0.7 // the share of printable bytes that no wrong key brings about: by chance it is 0.38
)

// plausible tells whether a payload that nothing vouches for is what the apiserver encrypted, at least in part: the right key
// makes its beginning an encoding's, or most of it text.
func plausible(payload []byte) bool {
	for _, beginning := range []string{"k8s\x00", "\xd9\xd9\xf7", `{"`, "{\n"} {
		if bytes.HasPrefix(payload, []byte(beginning)) {
			return true
		}
	}
	payload = payload[:min(len(payload), most)]
	printable := 0
	for _, c := range payload {
		if c >= ' ' && c <= '~' || c == '\n' {
			printable++
		}
	}
	return len(payload) >= fewest && float64(printable) >= text*float64(len(payload))
}
