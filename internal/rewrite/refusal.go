package rewrite

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
)

// course says how a run goes on after one answer, or the lack of one.
type course int

const (
	settled   course = iota // the server has decided about this object
	again                   // this object's own trouble: try it again later
	throttled               // the server asks everybody to slow down
	down                    // nobody can be served: the connection, a proxy, the credentials
	unsettled               // definite, unless an outage has just ended: see health.settling
)

const maxMessage = 4 << 10

// The texts by which Kubernetes tells who refused, as of 1.37; each is anchored at the start of the message,
// since what follows may be anybody's words.
//   - webhook denial: k8s.io/apiserver pkg/admission/plugin/webhook/errors/statuserror.go (any code: the webhook chooses it)
//   - failed call: pkg/util/webhook/error.go, wrapped by apierrors.NewInternalError in the webhook dispatchers
//   - ValidatingAdmissionPolicy: pkg/admission/plugin/policy/validating/dispatcher.go, behind NewForbidden's prefix,
//     with the code of the policy's reason (422 by default)
//   - MutatingAdmissionPolicy: pkg/admission/plugin/policy/generic/policy_dispatcher.go, without any prefix
//   - authorizer: pkg/endpoints/handlers/responsewriters/errors.go, behind NewForbidden's prefix
//   - conversion: k8s.io/apiextensions-apiserver pkg/apiserver/conversion/{webhook_converter,converter}.go. What
//     follows "failed: " there is the webhook's own, and what follows "returned " may quote the object
//   - a stored version that is unknown: converter.go again, for a CRD that lacks it, and for built-in resources
//     k8s.io/apimachinery pkg/runtime/error.go
var (
	webhookDenied = regexp.MustCompile(`^admission webhook "([^"]*)" (denied the request|does not support dry run)`)
	webhookDown   = regexp.MustCompile(`^failed calling webhook "([^"]*)"`)
	policyDenied  = regexp.MustCompile(`^(?:ValidatingAdmissionPolicy|MutatingAdmissionPolicy|policy) ['"]([^'"]*)['"] (?:with binding '[^']*' )?denied request`)
	userCannot    = regexp.MustCompile(`^User "(?:[^"\\]|\\.)*" cannot `)
	conversion    = regexp.MustCompile(`^(?:conversion webhook for |no supported conversion review versions|request to convert CR |CR conversion failed|\S+, Kind=\S* is unstructured and is not suitable for converting to )`)
	// corrupt is what Kubernetes puts before why it could not open, decode or convert a stored object, where the
	// feature AllowUnsafeMalformedObjectDeletion is on, as in 1.37: k8s.io/apiserver pkg/storage/etcd3/corrupt_obj_deleter.go.
	// A dry run reads through another path, which wraps that once more: pkg/storage/errors/storage.go.
	corrupt       = regexp.MustCompile(`^(?:StorageError: corrupt object, Code: [0-9]+, Key: [^ ,]*, ResourceVersion: -?[0-9]+, AdditionalErrorMsg: )?(?:object not decodable|data from the storage is not transformable) revision=-?[0-9]+: `)
	unknownStored = regexp.MustCompile(`^(?:request to convert CR from an invalid group/version: |no kind "[^"]*" is registered for version "|no version "[^"]*" has been registered in scheme )`)
	fieldPath     = regexp.MustCompile(`^[A-Za-z0-9_$][A-Za-z0-9_$.-]*(\[[^\]]*\][A-Za-z0-9_$.-]*)*$`)
	fieldKey      = regexp.MustCompile(`\[[^\]]*\]`)
	fieldIndex    = regexp.MustCompile(`^\[[0-9]+\]$`)
)

// unreadable are the apiserver's words for a value it cannot open: pkg/server/options/encryptionconfig/config.go and
// pkg/storage/value/encrypt/identity/identity.go.
var unreadable = []string{
	"no matching prefix found",
	"no matching key was found",
	"identity transformer tried to read encrypted data",
}

// judge makes a Failure and a course of a refusal. code is the HTTP status; st is the Status of the body, nil if
// the body held none, which means that something other than an apiserver answered. A 409 or 404 about the object
// itself gives Conflict or NotFound and no Failure.
func judge(gr schema.GroupResource, name string, code int, st *metav1.Status) (Status, *Failure, course) {
	if st == nil {
		f := &Failure{Code: code}
		f.Kind, _ = kindOf(code)
		return Failed, f, bareCourse(code)
	}
	f := &Failure{Code: code, Reason: knownReason(st.Reason), Message: clip(st.Message)}
	msg := strings.TrimPrefix(st.Message, "Internal error occurred: ")
	msg = strings.TrimPrefix(msg, forbiddenPrefix(gr, name))
	stored := code >= 500 && corrupt.MatchString(msg)
	if stored {
		msg = corrupt.ReplaceAllString(msg, "")
	}

	switch {
	case match(webhookDenied, msg, f):
		f.Kind = KindWebhook
		if strings.HasPrefix(msg, `admission webhook "`+f.By+`" does not support dry run`) {
			f.Kind = KindNoDryRun
		}
		// A webhook built on controller-runtime answers its own errors as denials with code 500.
		if code == http.StatusTooManyRequests || code >= 500 {
			return Failed, f, again
		}
		return Failed, f, settled
	case match(policyDenied, msg, f):
		f.Kind = KindPolicy
		return Failed, f, settled
	case code >= 500 && match(webhookDown, msg, f):
		f.Kind = KindWebhookDown
		return Failed, f, again
	case code >= 500 && unknownStored.MatchString(msg):
		f.Kind = KindStoredVersion
		return Failed, f, unsettled // an apiserver that has just started may not have seen the CRD's last change
	case code >= 500 && conversion.MatchString(msg):
		f.Kind = KindConversion
		return Failed, f, again
	}

	switch code {
	case http.StatusConflict:
		// A quota's own conflict names the quota.
		if about(st, gr, name) {
			return Conflict, nil, settled
		}
		f.Kind = KindRequest
		return Failed, f, again
	case http.StatusNotFound:
		if about(st, gr, name) {
			return NotFound, nil, settled
		}
		f.Kind = KindUnserved
		return Failed, f, unsettled
	case http.StatusForbidden:
		if userCannot.MatchString(msg) {
			f.Kind = KindForbidden
			return Failed, f, unsettled
		}
		f.Kind = KindAdmission
		return Failed, f, settled
	case http.StatusUnprocessableEntity:
		f.Fields = fields(st)
	}
	k, c := kindOf(code)
	f.Kind = k
	if code >= 500 {
		if f.Kind, c = storageKind(msg, k, c); stored {
			f.Kind = KindUnreadable
		}
	}
	return Failed, f, c
}

// forbiddenPrefix is how apierrors.NewForbidden begins.
func forbiddenPrefix(gr schema.GroupResource, name string) string {
	if name == "" {
		return gr.String() + " is forbidden: "
	}
	return fmt.Sprintf("%s %q is forbidden: ", gr.String(), name)
}

// kindOf is what the code alone tells.
func kindOf(code int) (Kind, course) {
	switch code {
	case http.StatusUnauthorized:
		return KindUnauthorized, down
	case http.StatusForbidden:
		return KindForbidden, unsettled
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusUnsupportedMediaType:
		return KindUnserved, settled
	case http.StatusRequestTimeout:
		return KindUnavailable, again
	case http.StatusRequestEntityTooLarge:
		return KindTooLarge, settled
	case http.StatusUnprocessableEntity:
		return KindInvalid, settled
	case http.StatusTooManyRequests:
		return KindThrottled, throttled
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		return KindUnavailable, down
	case http.StatusGatewayTimeout: // an apiserver says so of one slow request
		return KindUnavailable, again
	}
	if code >= 500 {
		return KindServer, again
	}
	return KindRequest, settled
}

// bareCourse is for answers without a Status, as proxies and load balancers give them.
func bareCourse(code int) course {
	switch code {
	case http.StatusGatewayTimeout:
		return down
	case http.StatusNotFound:
		return unsettled
	}
	_, c := kindOf(code)
	return c
}

// storageKind refines a 5xx that quotes etcd or the transformers. etcd's texts reach the answer as they are
// (k8s.io/apiserver pkg/storage/etcd3: InterpretUpdateError passes unknown errors on).
func storageKind(msg string, k Kind, c course) (Kind, course) {
	if rest, ok := strings.CutPrefix(msg, "rpc error: code = "); ok {
		if _, desc, ok := strings.Cut(rest, " desc = "); ok {
			msg = desc
		}
	}
	switch {
	case strings.HasPrefix(msg, "etcdserver: request is too large"),
		strings.HasPrefix(msg, "trying to send message larger than max"):
		return KindTooLarge, settled
	case strings.HasPrefix(msg, "etcdserver: mvcc: database space exceeded"):
		return KindNoSpace, c
	}
	for _, text := range unreadable {
		if strings.HasPrefix(msg, text) {
			return KindUnreadable, c
		}
	}
	return k, c
}

// about tells whether a Status speaks of this very object. An answer that names nothing speaks of it: the request
// was about nothing else.
func about(st *metav1.Status, gr schema.GroupResource, name string) bool {
	d := st.Details
	if d == nil || d.Name == "" {
		// "the server could not find the requested resource" has no name either, but is about the endpoint.
		return st.Code != http.StatusNotFound
	}
	return d.Name == name && (d.Kind == "" || d.Kind == gr.Resource)
}

// match reports whether re matches, and keeps the name it caught if it is one that Kubernetes would admit.
func match(re *regexp.Regexp, msg string, f *Failure) bool {
	m := re.FindStringSubmatch(msg)
	if m == nil {
		return false
	}
	if len(validation.IsDNS1123Subdomain(m[1])) == 0 {
		f.By = m[1]
	}
	return true
}

// fields gives the field paths of a validation error, with map keys struck out.
func fields(st *metav1.Status) []string {
	if st.Details == nil {
		return nil
	}
	var paths []string
	for _, c := range st.Details.Causes {
		if len(paths) == 16 {
			break
		}
		if c.Field == "" || len(c.Field) > 256 || !fieldPath.MatchString(c.Field) {
			continue
		}
		paths = append(paths, fieldKey.ReplaceAllStringFunc(c.Field, func(k string) string {
			if fieldIndex.MatchString(k) {
				return k
			}
			return "[*]"
		}))
	}
	return paths
}

var reasons = map[metav1.StatusReason]bool{
	metav1.StatusReasonUnauthorized: true, metav1.StatusReasonForbidden: true, metav1.StatusReasonNotFound: true,
	metav1.StatusReasonAlreadyExists: true, metav1.StatusReasonConflict: true, metav1.StatusReasonGone: true,
	metav1.StatusReasonInvalid: true, metav1.StatusReasonServerTimeout: true, metav1.StatusReasonStoreReadError: true,
	metav1.StatusReasonTimeout: true, metav1.StatusReasonTooManyRequests: true, metav1.StatusReasonBadRequest: true,
	metav1.StatusReasonMethodNotAllowed: true, metav1.StatusReasonNotAcceptable: true,
	metav1.StatusReasonRequestEntityTooLarge: true, metav1.StatusReasonUnsupportedMediaType: true,
	metav1.StatusReasonInternalError: true, metav1.StatusReasonExpired: true, metav1.StatusReasonServiceUnavailable: true,
}

// knownReason drops reasons that Kubernetes does not define: a webhook may put any text there.
func knownReason(r metav1.StatusReason) string {
	if reasons[r] {
		return string(r)
	}
	return ""
}

func clip(s string) string {
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "")
	}
	return s
}
