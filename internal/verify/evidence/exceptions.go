package evidence

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/verify"
)

// Deviations are what can be approved: findings of which it is known what they are. What could not be read or understood is none.
var (
	deviations        = []verify.Code{verify.Plaintext, verify.StaleKey, verify.StaleVersion, verify.EncryptedUnexpectedly, verify.UnservedVersion}
	defaultDeviations = []verify.Code{verify.Plaintext, verify.StaleKey, verify.StaleVersion}
)

// ParseExceptions reads a file of approved deviations, YAML or JSON. A time may be a day, which then counts as a whole.
func ParseExceptions(text []byte) (*Exceptions, error) {
	var file struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Exceptions []struct {
			ID       string   `json:"id"`
			Selector Selector `json:"selector"`
			Reason   string   `json:"reason"`
			Approver string   `json:"approver"`
			Ticket   string   `json:"ticket"`
			Approved string   `json:"approved"`
			Expires  string   `json:"expires"`
		} `json:"exceptions"`
	}
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		return nil, err
	}
	if len(file.Exceptions) == 0 {
		return nil, errors.New("it approves nothing: there is no entry under exceptions")
	}
	all := &Exceptions{APIVersion: APIVersion, Kind: "EvidenceExceptions"}
	for i, in := range file.Exceptions {
		e := Exception{ID: in.ID, Selector: in.Selector, Reason: in.Reason, Approver: in.Approver, Ticket: in.Ticket}
		where := fmt.Sprintf("exception %d (%s)", i+1, in.ID)
		if in.ID == "" || in.Reason == "" || in.Approver == "" || in.Expires == "" {
			return nil, fmt.Errorf("%s: id, reason, approver and expires are all needed", where)
		}
		if slices.ContainsFunc(all.Exceptions, func(o Exception) bool { return o.ID == in.ID }) {
			return nil, fmt.Errorf("%s: the id is taken", where)
		}
		if err := e.Selector.check(); err != nil {
			return nil, fmt.Errorf("%s: selector: %w", where, err)
		}
		var err error
		if e.Expires, err = moment(in.Expires, true); err != nil {
			return nil, fmt.Errorf("%s: expires: %w", where, err)
		}
		if in.Approved != "" {
			if e.Approved, err = moment(in.Approved, false); err != nil {
				return nil, fmt.Errorf("%s: approved: %w", where, err)
			}
		}
		all.Exceptions = append(all.Exceptions, e)
	}
	return all, nil
}

func moment(text string, end bool) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		if end {
			t = t.Add(24*time.Hour - time.Second)
		}
		return t.UTC(), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fmt.Errorf("%q is no day such as 2027-03-31, and no RFC 3339 time", text)
	}
	return t.UTC(), nil
}

func (s *Selector) check() error {
	r, err := verify.ParseResource(s.Resource)
	if err != nil {
		return err
	}
	if r.Wildcard() {
		return errors.New("it names one resource: a deviation of everything is no exception")
	}
	s.Resource = r.String()
	for _, pattern := range []string{s.Namespace, s.Name} {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("%q is no pattern", pattern)
		}
	}
	for _, c := range s.Codes {
		if !slices.Contains(deviations, c) {
			return fmt.Errorf("%s is nothing that can be approved: only %v can", c, deviations)
		}
	}
	if len(s.Codes) == 0 {
		s.Codes = defaultDeviations
	}
	return nil
}

// covers tells whether the deviations of an object are all approved.
func (s Selector) covers(o key.Object, codes []verify.Code) bool {
	if (verify.Resource{Group: o.Group, Name: o.Resource}).String() != s.Resource {
		return false
	}
	for _, p := range [][2]string{{s.Namespace, o.Namespace}, {s.Name, o.Name}} {
		if ok, err := path.Match(p[0], p[1]); p[0] != "" && (err != nil || !ok) {
			return false
		}
	}
	return len(codes) > 0 && !slices.ContainsFunc(codes, func(c verify.Code) bool { return !slices.Contains(s.Codes, c) })
}

// scrub takes key IDs out of what people wrote.
func (e *Exceptions) scrub(s *scrubber) {
	if e == nil {
		return
	}
	for i := range e.Exceptions {
		x := &e.Exceptions[i]
		for _, text := range []*string{&x.ID, &x.Reason, &x.Approver, &x.Ticket} {
			*text = s.text(*text)
		}
	}
}

// begin judges by the time of a scan which of the exceptions have expired.
func (e *Exceptions) begin(at time.Time) {
	e.at = at
	for i := range e.Exceptions {
		e.Exceptions[i].Objects, e.Exceptions[i].Expired = 0, !at.Before(e.Exceptions[i].Expires)
	}
}

// match counts the object for the first exception that covers it, one that has not expired before one that has. It tells the ID
// where the deviation is approved.
func (e *Exceptions) match(o key.Object, codes []verify.Code) (id string, expired bool) {
	if e == nil || len(codes) == 0 {
		return "", false
	}
	lapsed := -1
	for i := range e.Exceptions {
		x := &e.Exceptions[i]
		switch {
		case !x.Selector.covers(o, codes), x.Approved.After(e.at): // what is approved afterwards was not approved
		case !x.Expired:
			x.Objects++
			return x.ID, false
		case lapsed < 0:
			lapsed = i
		}
	}
	if lapsed < 0 {
		return "", false
	}
	e.Exceptions[lapsed].Objects++
	return e.Exceptions[lapsed].ID, true
}

// used is how the exceptions stand in scan.json.
func (e *Exceptions) used() []ExceptionUse {
	used := []ExceptionUse{}
	if e == nil {
		return used
	}
	for _, x := range e.Exceptions {
		used = append(used, ExceptionUse{ID: x.ID, Expires: x.Expires, Expired: x.Expired, Objects: x.Objects})
	}
	return used
}

// redacted has no name of an object in it where names are hidden.
func (e *Exceptions) redacted(r *Redactor) *Exceptions {
	if e == nil {
		return nil
	}
	all := *e
	all.Exceptions = slices.Clone(e.Exceptions)
	for i := range all.Exceptions {
		s := &all.Exceptions[i].Selector
		s.Namespace, s.Name = r.hide(s.Namespace), r.hide(s.Name)
	}
	return &all
}
