package crd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Errors of a Client, besides *RefusedError and those of the connection.
var (
	ErrNotFound = errors.New("there is none")
	ErrConflict = errors.New("it was changed meanwhile")

	errAnswer = errors.New("the answer is not what an apiserver gives")
)

// RefusedError is an apiserver's refusal without its free text, which may quote anything.
type RefusedError struct {
	Code   int
	Reason string // one that Kubernetes defines, "" for any other
}

func (e *RefusedError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("the apiserver answered %d", e.Code)
	}
	return fmt.Sprintf("the apiserver answered %d %s", e.Code, e.Reason)
}

// Forbidden tells whether it was for want of permission, or an admission plugin's doing.
func (e *RefusedError) Forbidden() bool { return e.Code == http.StatusForbidden }

func refusal(code int, body io.Reader) error {
	var st struct {
		Kind    string
		Reason  metav1.StatusReason
		Details struct{ Name string }
	}
	if json.NewDecoder(body).Decode(&st) != nil || st.Kind != "Status" {
		st.Reason = ""
	}
	switch {
	case code == http.StatusNotFound && st.Reason == metav1.StatusReasonNotFound && st.Details.Name != "": // else the API itself is missing
		return ErrNotFound
	case code == http.StatusConflict && st.Reason == metav1.StatusReasonConflict:
		return ErrConflict
	}
	switch st.Reason {
	case metav1.StatusReasonUnauthorized, metav1.StatusReasonForbidden, metav1.StatusReasonNotFound, metav1.StatusReasonConflict,
		metav1.StatusReasonInvalid, metav1.StatusReasonServerTimeout, metav1.StatusReasonTimeout, metav1.StatusReasonTooManyRequests,
		metav1.StatusReasonBadRequest, metav1.StatusReasonMethodNotAllowed, metav1.StatusReasonNotAcceptable, metav1.StatusReasonGone,
		metav1.StatusReasonRequestEntityTooLarge, metav1.StatusReasonUnsupportedMediaType, metav1.StatusReasonInternalError,
		metav1.StatusReasonExpired, metav1.StatusReasonServiceUnavailable:
		return &RefusedError{Code: code, Reason: string(st.Reason)}
	}
	return &RefusedError{Code: code}
}
