package rewrite

import (
	"fmt"
	"strconv"
	"strings"
)

// Object names one object to rewrite.
type Object struct {
	Namespace string // empty for cluster-scoped resources
	Name      string
	Revision  int64  // mod_revision the scan saw; the patch is refused with 409 if it moved
	Ref       string // the caller's own name for the object; it is not sent
}

// Status says what became of one object.
type Status int

const (
	NotAttempted Status = iota // zero value
	Rewritten                  // 2xx, and the resourceVersion moved
	Unchanged                  // 2xx, and the resourceVersion did not move: nothing was written
	Accepted                   // 2xx to a dry run: nothing was written, nobody refused
	Conflict                   // 409: the object is no longer at Object.Revision
	NotFound                   // 404: the object is gone
	Failed                     // see Result.Failure
)

var statusNames = [...]string{"notAttempted", "rewritten", "unchanged", "accepted", "conflict", "notFound", "failed"}

// String returns the word used in reports.
func (s Status) String() string {
	if s < 0 || int(s) >= len(statusNames) {
		return "Status(" + strconv.Itoa(int(s)) + ")"
	}
	return statusNames[s]
}

// MarshalText implements encoding.TextMarshaler with the words of String.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Result is the final word about one object in one run.
type Result struct {
	Object
	Status   Status
	Revision int64    // resourceVersion of a 2xx answer, else 0; Object.Revision is the scanned one
	Failure  *Failure // set if and only if Status is Failed
	Attempts int      // requests sent

	// Uncertain tells that at least one request may have been applied without saying so: its answer was lost,
	// or was a 5xx. A Conflict of such an object may be our own write, and only etcd can tell.
	Uncertain bool
}

// Failure is why an object was not rewritten. All fields but Message are made from closed vocabularies or
// validated names and are safe to show.
type Failure struct {
	Kind   Kind
	Code   int    // HTTP status, 0 when there was no answer
	Reason string // a metav1.StatusReason, or for Code 0 one of the Transport reasons; "" if neither
	By     string // admission webhook or policy that refused or broke, "" if none
	// Fields are the paths of a 422 of the apiserver's own validation. Map keys in them are replaced by *,
	// because the keys of a Secret's data are stored bytes.
	Fields []string
	// Message is the server's (or network stack's) free text, at most 4 KiB. It may quote the object: never
	// show it unless the user asked for that.
	Message string
}

// Reasons of a Failure without an HTTP answer.
const (
	ReasonRefused     = "ConnectionRefused"
	ReasonReset       = "ConnectionReset"
	ReasonTimeout     = "NoAnswerInTime"
	ReasonEOF         = "ConnectionClosed"
	ReasonCertificate = "CertificateNotTrusted"
	ReasonLookup      = "HostNotFound"
	ReasonTransport   = "ConnectionFailed" // anything else
)

// Error says in one line what is safe to show; Message is left out.
func (f *Failure) Error() string {
	var b strings.Builder
	b.WriteString(f.Kind.describe())
	if f.By != "" {
		fmt.Fprintf(&b, " %s", f.By)
	}
	switch {
	case f.Code != 0 && f.Reason != "":
		fmt.Fprintf(&b, " (%d %s)", f.Code, f.Reason)
	case f.Code != 0:
		fmt.Fprintf(&b, " (%d)", f.Code)
	case f.Reason != "":
		fmt.Fprintf(&b, " (%s)", f.Reason)
	}
	if len(f.Fields) > 0 {
		fmt.Fprintf(&b, " at %s", strings.Join(f.Fields, ", "))
	}
	return b.String()
}

// Kind is the class of a Failure's cause.
type Kind int

const (
	KindUnknown       Kind = iota
	KindWebhook            // an admission webhook refused; By names it
	KindPolicy             // an admission policy refused; By names it
	KindAdmission          // an admission plugin of the apiserver refused
	KindForbidden          // the authorizer refused the patch verb
	KindUnauthorized       // the credentials were not accepted
	KindInvalid            // validation refused; Fields says where
	KindTooLarge           // the object is beyond a size limit of the apiserver or etcd
	KindUnserved           // this server does not serve the resource or cannot patch it
	KindRequest            // any other 4xx, or a name that cannot be put into a URL
	KindThrottled          // 429
	KindTransport          // no complete answer
	KindUnavailable        // 502, 503 or 504
	KindServer             // 500 and other 5xx
	KindWebhookDown        // an admission webhook could not be called; By names it
	KindConversion         // the object could not be converted to the version asked for or to the stored one
	KindStoredVersion      // the object is stored at a version that its CRD, or this apiserver, no longer has
	KindUnreadable         // the apiserver cannot open what is stored
	KindNoSpace            // etcd has reached its quota
	KindNoDryRun           // a webhook with side effects cannot be asked in a dry run; By names it
	KindAnswer             // 2xx without a resourceVersion: written or not, the answer does not say
	KindOutage             // the run was stopped by an outage before this object was settled
	KindInterrupted        // the run was stopped otherwise before this object was settled
)

var kinds = [...]struct{ name, text string }{
	KindUnknown:       {"unknown", "failed"},
	KindWebhook:       {"webhook", "refused by admission webhook"},
	KindPolicy:        {"policy", "refused by admission policy"},
	KindAdmission:     {"admission", "refused by admission"},
	KindForbidden:     {"forbidden", "refused by authorization"},
	KindUnauthorized:  {"unauthorized", "credentials not accepted"},
	KindInvalid:       {"invalid", "refused by validation"},
	KindTooLarge:      {"tooLarge", "object too large"},
	KindUnserved:      {"unserved", "resource not served for patching"},
	KindRequest:       {"request", "request refused"},
	KindThrottled:     {"throttled", "throttled by the apiserver"},
	KindTransport:     {"transport", "no answer"},
	KindUnavailable:   {"unavailable", "apiserver unavailable"},
	KindServer:        {"server", "apiserver error"},
	KindWebhookDown:   {"webhookDown", "cannot call admission webhook"},
	KindConversion:    {"conversion", "conversion between versions failed"},
	KindStoredVersion: {"storedVersion", "stored at a version that the apiserver does not know"},
	KindUnreadable:    {"unreadable", "stored value unreadable for the apiserver"},
	KindNoSpace:       {"noSpace", "etcd is out of space"},
	KindNoDryRun:      {"noDryRun", "dry run not supported by admission webhook"},
	KindAnswer:        {"answer", "answer without a resourceVersion"},
	KindOutage:        {"outage", "stopped by an outage"},
	KindInterrupted:   {"interrupted", "interrupted"},
}

// String returns the word used in reports.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kinds) {
		return "Kind(" + strconv.Itoa(int(k)) + ")"
	}
	return kinds[k].name
}

// MarshalText implements encoding.TextMarshaler with the words of String.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

func (k Kind) describe() string {
	if k < 0 || int(k) >= len(kinds) {
		return k.String()
	}
	return kinds[k].text
}
