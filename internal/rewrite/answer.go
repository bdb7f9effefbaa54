package rewrite

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// maxAnswer bounds what is read of a 2xx answer. A table without rows' objects has some 2 kB; a server that
	// answers with the object itself can send what etcd can hold, several times over as JSON.
	maxAnswer = 16 << 20
	// maxRefusal bounds what is read of any other answer.
	maxRefusal = 1 << 20
)

var errNoRevision = errors.New("answer has no resourceVersion")

// readRevision reads .metadata.resourceVersion out of one JSON object, whatever its kind, and nothing else: it
// keeps one token at a time and stops at the one it looks for.
func readRevision(r io.Reader) (int64, error) {
	limited := &io.LimitedReader{R: r, N: maxAnswer}
	dec := json.NewDecoder(limited)
	rev, err := findRevision(dec)
	if err == nil {
		return rev, nil
	}
	var syntax *json.SyntaxError
	switch {
	case limited.N <= 0, errors.Is(err, errNoRevision):
		return 0, errNoRevision
	case errors.As(err, &syntax):
		// The decoder's text quotes a byte of the answer.
		return 0, fmt.Errorf("%w: not JSON", errNoRevision)
	}
	return 0, err
}

func findRevision(dec *json.Decoder) (int64, error) {
	metadata, err := enter(dec, "metadata")
	if err != nil {
		return 0, err
	}
	if !metadata {
		return 0, errNoRevision
	}
	found, err := enter(dec, "resourceVersion")
	if err != nil {
		return 0, err
	}
	if !found {
		return 0, errNoRevision
	}
	tok, err := dec.Token()
	if err != nil {
		return 0, err
	}
	text, _ := tok.(string)
	rev, err := strconv.ParseInt(text, 10, 64)
	if err != nil || rev <= 0 {
		return 0, errNoRevision
	}
	return rev, nil
}

// enter reads into the object at hand up to the value of the given key, false if the object ends before.
func enter(dec *json.Decoder, key string) (bool, error) {
	tok, err := dec.Token()
	if err != nil {
		return false, err
	}
	if tok != json.Delim('{') {
		return false, errNoRevision
	}
	for {
		tok, err := dec.Token()
		if err != nil {
			return false, err
		}
		switch tok {
		case json.Delim('}'):
			return false, nil
		case key:
			return true, nil
		}
		if err := skip(dec); err != nil {
			return false, err
		}
	}
}

// skip reads over one value.
func skip(dec *json.Decoder) error {
	for depth := 0; ; {
		tok, err := dec.Token()
		if err != nil {
			return err
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// readStatus gives the Status of a refusal, nil if the body holds none, cut or not.
func readStatus(r io.Reader) *metav1.Status {
	body, err := io.ReadAll(io.LimitReader(r, maxRefusal))
	if err != nil {
		return nil
	}
	var st metav1.Status
	if json.Unmarshal(body, &st) != nil || st.Kind != "Status" || st.Status != metav1.StatusFailure {
		return nil
	}
	return &st
}
