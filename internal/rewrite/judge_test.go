package rewrite

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestJudge(t *testing.T) {
	rbac := `secrets "o0" is forbidden: User "eve" cannot patch resource "secrets" in API group "" in the namespace "ns"`
	tests := []struct {
		name   string
		code   int
		body   string
		status Status
		want   Failure // without Message
		course course
	}{
		{"webhook", 403, status(403, metav1.StatusReasonForbidden, `admission webhook "deny.example.com" denied the request: `+canary, ""),
			Failed, Failure{Kind: KindWebhook, Code: 403, Reason: "Forbidden", By: "deny.example.com"}, settled},
		{"webhook without explanation", 400, status(400, "", `admission webhook "deny.example.com" denied the request without explanation`, ""),
			Failed, Failure{Kind: KindWebhook, Code: 400, By: "deny.example.com"}, settled},
		{"webhook with its own conflict", 409, status(409, metav1.StatusReasonConflict, `admission webhook "deny.example.com" denied the request: no`, "o0"),
			Failed, Failure{Kind: KindWebhook, Code: 409, Reason: "Conflict", By: "deny.example.com"}, settled},
		{"webhook with its own 404", 404, status(404, canary, `admission webhook "deny.example.com" denied the request: no`, "o0",
			metav1.StatusCause{Field: canary}),
			Failed, Failure{Kind: KindWebhook, Code: 404, By: "deny.example.com"}, settled},
		{"webhook's internal error", 500, status(500, "", `admission webhook "deny.example.com" denied the request: boom`, ""),
			Failed, Failure{Kind: KindWebhook, Code: 500, By: "deny.example.com"}, again},
		{"webhook name that is none", 403, status(403, "", `admission webhook "a b `+canary+`" denied the request: x`, ""),
			Failed, Failure{Kind: KindWebhook, Code: 403}, settled},
		{"webhook in a name's disguise", 403, status(403, metav1.StatusReasonForbidden, `no: admission webhook "deny.example.com" denied the request`, ""),
			Failed, Failure{Kind: KindAdmission, Code: 403, Reason: "Forbidden"}, settled},
		{"webhook down", 500, status(500, metav1.StatusReasonInternalError, `Internal error occurred: failed calling webhook "w.example.com": failed to call webhook: Post "https://x": refused`, ""),
			Failed, Failure{Kind: KindWebhookDown, Code: 500, Reason: "InternalError", By: "w.example.com"}, again},
		{"webhook without dry run", 400, status(400, metav1.StatusReasonBadRequest, `admission webhook "w.example.com" does not support dry run`, ""),
			Failed, Failure{Kind: KindNoDryRun, Code: 400, Reason: "BadRequest", By: "w.example.com"}, settled},
		{"validating policy", 422, status(422, metav1.StatusReasonInvalid, `secrets "o0" is forbidden: ValidatingAdmissionPolicy 'pol.example.com' with binding 'b' denied request: `+canary, "o0"),
			Failed, Failure{Kind: KindPolicy, Code: 422, Reason: "Invalid", By: "pol.example.com"}, settled},
		{"validating policy without binding", 403, status(403, metav1.StatusReasonForbidden, `secrets "o0" is forbidden: ValidatingAdmissionPolicy 'pol' denied request: x`, "o0"),
			Failed, Failure{Kind: KindPolicy, Code: 403, Reason: "Forbidden", By: "pol"}, settled},
		{"mutating policy", 403, status(403, metav1.StatusReasonInvalid, `policy 'pol' with binding 'b' denied request: x`, "o0"),
			Failed, Failure{Kind: KindPolicy, Code: 403, Reason: "Invalid", By: "pol"}, settled},
		{"mutating policy without binding", 403, status(403, metav1.StatusReasonInvalid, `policy "pol" denied request: x`, "o0"),
			Failed, Failure{Kind: KindPolicy, Code: 403, Reason: "Invalid", By: "pol"}, settled},
		{"rbac", 403, status(403, metav1.StatusReasonForbidden, rbac, "o0"),
			Failed, Failure{Kind: KindForbidden, Code: 403, Reason: "Forbidden"}, unsettled},
		{"plugin", 403, status(403, metav1.StatusReasonForbidden, `secrets "o0" is forbidden: exceeded quota: `+canary, "o0"),
			Failed, Failure{Kind: KindAdmission, Code: 403, Reason: "Forbidden"}, settled},
		{"invalid", 422, status(422, metav1.StatusReasonInvalid, `Secret "o0" is invalid: `+canary, "o0",
			metav1.StatusCause{Field: "type"}, metav1.StatusCause{Field: "data[" + canary + "]"}, metav1.StatusCause{Field: "spec.ports[0].name"},
			metav1.StatusCause{Field: "metadata.annotations[a/b].x"}, metav1.StatusCause{Field: "a b"}, metav1.StatusCause{Message: canary}),
			Failed, Failure{Kind: KindInvalid, Code: 422, Reason: "Invalid", Fields: []string{"type", "data[*]", "spec.ports[0].name", "metadata.annotations[*].x"}}, settled},
		{"too large", 413, status(413, metav1.StatusReasonRequestEntityTooLarge, "limit is 3145728", ""),
			Failed, Failure{Kind: KindTooLarge, Code: 413, Reason: "RequestEntityTooLarge"}, settled},
		{"too large for etcd", 500, status(500, "", "etcdserver: request is too large", ""),
			Failed, Failure{Kind: KindTooLarge, Code: 500}, settled},
		{"too large for grpc", 500, status(500, "", "rpc error: code = ResourceExhausted desc = trying to send message larger than max (3 vs. 2)", ""),
			Failed, Failure{Kind: KindTooLarge, Code: 500}, settled},
		{"no space", 500, status(500, "", "etcdserver: mvcc: database space exceeded", ""),
			Failed, Failure{Kind: KindNoSpace, Code: 500}, again},
		{"unreadable", 500, status(500, metav1.StatusReasonInternalError, "Internal error occurred: no matching prefix found", ""),
			Failed, Failure{Kind: KindUnreadable, Code: 500, Reason: "InternalError"}, again},
		{"conversion", 500, status(500, "", "conversion webhook for stable.example.com/v1, Kind=Selfie failed: Post", ""),
			Failed, Failure{Kind: KindConversion, Code: 500}, again},
		{"conversion to nothing", 500, status(500, "", "conversion webhook for stable.example.com/v1, Kind=Selfie returned 0 objects, expected 1", ""),
			Failed, Failure{Kind: KindConversion, Code: 500}, again},
		{"conversion to another version", 500, status(500, "", "conversion webhook for stable.example.com/v1, Kind=Selfie returned invalid object at index 0: invalid groupVersion (expected stable.example.com/v2, received "+canary+")", ""),
			Failed, Failure{Kind: KindConversion, Code: 500}, again},
		{"conversion to another object", 500, status(500, "", "conversion webhook for stable.example.com/v1, Kind=Selfie returned invalid object: must have the same UID: "+canary, ""),
			Failed, Failure{Kind: KindConversion, Code: 500}, again},
		{"conversion to other metadata", 500, status(500, "", "conversion webhook for stable.example.com/v1, Kind=Selfie returned invalid metadata: "+canary, ""),
			Failed, Failure{Kind: KindConversion, Code: 500}, again},
		{"conversion with the object itself in the words", 500, status(500, "", "conversion webhook for &{map[spec:"+canary+"]} failed, no objects returned", ""),
			Failed, Failure{Kind: KindConversion, Code: 500}, again},
		{"conversion refused by the webhook", 500, status(500, "", "conversion webhook for stable.example.com/v1, Kind=Selfie failed: "+canary, ""),
			Failed, Failure{Kind: KindConversion, Code: 500}, again},
		{"conversion reviews that nobody speaks", 500, status(500, "", "no supported conversion review versions", ""),
			Failed, Failure{Kind: KindConversion, Code: 500}, again},
		{"conversion to a version that has gone", 500, status(500, "", "request to convert CR to an invalid group/version: stable.example.com/v3", ""),
			Failed, Failure{Kind: KindConversion, Code: 500}, again},
		{"conversion of something else", 500, status(500, "", "/v1, Kind=Pod is unstructured and is not suitable for converting to \"stable.example.com/v1\"", ""),
			Failed, Failure{Kind: KindConversion, Code: 500}, again},
		{"stored at a version that the CRD lacks", 500, status(500, "", "request to convert CR from an invalid group/version: stable.example.com/v1", ""),
			Failed, Failure{Kind: KindStoredVersion, Code: 500}, unsettled},
		{"stored at a version that the apiserver lacks", 500, status(500, "", `no kind "Ingress" is registered for version "extensions/v1beta1" in scheme "pkg/api/legacyscheme/scheme.go:30"`, ""),
			Failed, Failure{Kind: KindStoredVersion, Code: 500}, unsettled},
		{"not decodable for the CRD's webhook", 500, status(500, "", `object not decodable revision=231: conversion webhook for x.example.com/v1, Kind=W failed: Post "https://127.0.0.1:1/convert?timeout=30s": dial tcp 127.0.0.1:1: connect: connection refused`, ""),
			Failed, Failure{Kind: KindConversion, Code: 500}, again},
		{"not decodable for the CRD's webhook, in a dry run", 500, status(500, "", `Internal error occurred: StorageError: corrupt object, Code: 7, Key: /x.example.com/ws/ns/w, ResourceVersion: 0, AdditionalErrorMsg: object not decodable revision=231: conversion webhook for x.example.com/v1, Kind=W failed: Post "https://127.0.0.1:1/convert?timeout=30s": dial tcp 127.0.0.1:1: connect: connection refused`, ""),
			Failed, Failure{Kind: KindConversion, Code: 500}, again},
		{"not decodable for its version", 500, status(500, "", "object not decodable revision=231: request to convert CR from an invalid group/version: x.example.com/v1", ""),
			Failed, Failure{Kind: KindStoredVersion, Code: 500}, unsettled},
		{"not decodable", 500, status(500, "", "object not decodable revision=231: "+canary, ""),
			Failed, Failure{Kind: KindUnreadable, Code: 500}, again},
		{"not transformable", 500, status(500, metav1.StatusReasonInternalError, "Internal error occurred: data from the storage is not transformable revision=0: no matching prefix found", ""),
			Failed, Failure{Kind: KindUnreadable, Code: 500, Reason: "InternalError"}, again},
		{"not transformable by a KMS plugin", 500, status(500, "", "data from the storage is not transformable revision=0: failed to decrypt DEK, error: "+canary, ""),
			Failed, Failure{Kind: KindUnreadable, Code: 500}, again},
		{"stored in a group that the apiserver lacks", 500, status(500, "", `no version "extensions/v1beta1" has been registered in scheme "x"`, ""),
			Failed, Failure{Kind: KindStoredVersion, Code: 500}, unsettled},
		{"conversion in a webhook's words", 403, status(403, "", `admission webhook "w.example.com" denied the request: conversion webhook for x failed`, ""),
			Failed, Failure{Kind: KindWebhook, Code: 403, By: "w.example.com"}, settled},
		{"conflict", 409, status(409, metav1.StatusReasonConflict, "modified", "o0"), Conflict, Failure{}, settled},
		{"conflict of a quota", 409, `{"kind":"Status","status":"Failure","code":409,"reason":"Conflict","details":{"name":"q","kind":"resourcequotas"}}`,
			Failed, Failure{Kind: KindRequest, Code: 409, Reason: "Conflict"}, again},
		{"gone", 404, status(404, metav1.StatusReasonNotFound, `secrets "o0" not found`, "o0"), NotFound, Failure{}, settled},
		{"no such endpoint", 404, status(404, metav1.StatusReasonNotFound, "the server could not find the requested resource", ""),
			Failed, Failure{Kind: KindUnserved, Code: 404, Reason: "NotFound"}, unsettled},
		{"somebody else's 404", 404, "404 page not found " + canary, Failed, Failure{Kind: KindUnserved, Code: 404}, unsettled},
		{"somebody else's 409", 409, "no", Failed, Failure{Kind: KindRequest, Code: 409}, settled},
		{"throttled", 429, status(429, metav1.StatusReasonTooManyRequests, "", ""),
			Failed, Failure{Kind: KindThrottled, Code: 429, Reason: "TooManyRequests"}, throttled},
		{"webhook throttles", 429, status(429, metav1.StatusReasonTooManyRequests, `admission webhook "w.example.com" denied the request: x`, ""),
			Failed, Failure{Kind: KindWebhook, Code: 429, Reason: "TooManyRequests", By: "w.example.com"}, again},
		{"unauthorized", 401, status(401, metav1.StatusReasonUnauthorized, "Unauthorized", ""),
			Failed, Failure{Kind: KindUnauthorized, Code: 401, Reason: "Unauthorized"}, down},
		{"balancer", 502, "<html>", Failed, Failure{Kind: KindUnavailable, Code: 502}, down},
		{"slow request", 504, status(504, metav1.StatusReasonTimeout, "request did not complete", ""),
			Failed, Failure{Kind: KindUnavailable, Code: 504, Reason: "Timeout"}, again},
		{"slow balancer", 504, "", Failed, Failure{Kind: KindUnavailable, Code: 504}, down},
		{"redirect", 302, "", Failed, Failure{Kind: KindRequest, Code: 302}, settled},
		{"method", 405, status(405, metav1.StatusReasonMethodNotAllowed, "", ""),
			Failed, Failure{Kind: KindUnserved, Code: 405, Reason: "MethodNotAllowed"}, settled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, f, c := judge(secrets.GroupResource(), "o0", tt.code, readStatus(strings.NewReader(tt.body)))
			if s != tt.status || c != tt.course {
				t.Errorf("status %v, course %v; want %v, %v", s, c, tt.status, tt.course)
			}
			if s != Failed {
				if f != nil {
					t.Errorf("failure %v", f)
				}
				return
			}
			got := *f
			got.Message = ""
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if strings.Contains(f.Error(), canary) {
				t.Errorf("canary in %q", f.Error())
			}
		})
	}
}

func TestMessageIsBounded(t *testing.T) {
	st := readStatus(strings.NewReader(status(http.StatusForbidden, "", strings.Repeat("ü", 1<<16), "")))
	_, f, _ := judge(secrets.GroupResource(), "o0", 403, st)
	if len(f.Message) > maxMessage || len(f.Message) < maxMessage-2 {
		t.Errorf("message of %d bytes", len(f.Message))
	}
}

func TestReadRevision(t *testing.T) {
	big := strings.Repeat("x", maxAnswer)
	tests := []struct {
		name, body string
		want       int64
		ok         bool
	}{
		{"table", table(7), 7, true},
		{"object", `{"kind":"Secret","data":{"metadata":{"resourceVersion":"1"}},"metadata":{"name":"a","labels":{"resourceVersion":"2"},"managedFields":[{"x":[1,{"resourceVersion":"3"}]}],"resourceVersion":"8"}}`, 8, true},
		{"metadata alone", `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"metadata\":{\"resourceVersion\":\"1\"}}"},"managedFields":[` +
			strings.Repeat(`{"manager":"m","fieldsV1":{"f:metadata":{"f:resourceVersion":{}},"resourceVersion":"2"}},`, 10_000) + `{}],"resourceVersion":"9"}}`, 9, true},
		{"table whose rest is lost", table(7)[:80], 7, true},
		{"key as value", `{"a":"metadata","metadata":{"name":"resourceVersion","resourceVersion":"9"}}`, 9, true},
		{"none", `{"kind":"Table","metadata":{}}`, 0, false},
		{"no metadata", `{}`, 0, false},
		{"null", `null`, 0, false},
		{"number", `{"metadata":{"resourceVersion":9}}`, 0, false},
		{"word", `{"metadata":{"resourceVersion":"x"}}`, 0, false},
		{"zero", `{"metadata":{"resourceVersion":"0"}}`, 0, false},
		{"html", `<html>` + canary, 0, false},
		{"too long", `{"data":"` + big + `","metadata":{"resourceVersion":"9"}}`, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readRevision(strings.NewReader(tt.body))
			if (err == nil) != tt.ok || got != tt.want {
				t.Errorf("got %d, %v", got, err)
			}
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Errorf("canary in %v", err)
			}
		})
	}
}
