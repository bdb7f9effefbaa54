package page

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/evidence"
)

type exception struct {
	Anchor  string
	ID      string
	State   string
	Expired bool
	Reason  string
	Facts   []fact
}

func exceptionsOf(d *evidence.Document) []exception {
	var out []exception
	add := func(id string, expires time.Time, expired bool, objects int64) *exception {
		state := "in force until " + clock(expires)
		if expired {
			state = "expired on " + clock(expires)
		}
		out = append(out, exception{
			Anchor: fmt.Sprintf("exception-%d", len(out)+1), ID: id, State: state, Expired: expired,
			Facts: []fact{{Term: "Covers", Texts: []string{count(objects, "object") + " that would be at fault without it"}}},
		})
		return &out[len(out)-1]
	}
	if d.Exceptions == nil {
		for _, e := range d.Scan.Exceptions {
			add(e.ID, e.Expires, e.Expired, e.Objects)
		}
		return out
	}
	for _, e := range d.Exceptions.Exceptions {
		x := add(e.ID, e.Expires, e.Expired, e.Objects)
		x.Reason = e.Reason
		applies := cmp.Or(e.Selector.Resource, "every resource")
		if e.Selector.Namespace != "" {
			applies += ", namespace " + e.Selector.Namespace
		}
		if e.Selector.Name != "" {
			applies += ", name " + e.Selector.Name
		}
		codes := []string{string(verify.Plaintext), string(verify.StaleKey), string(verify.StaleVersion)}
		if len(e.Selector.Codes) > 0 {
			codes = codes[:0]
			for _, c := range e.Selector.Codes {
				codes = append(codes, string(c))
			}
		}
		approved := e.Approver
		if !e.Approved.IsZero() {
			approved += " on " + clock(e.Approved)
		}
		x.Facts = append(x.Facts,
			fact{Term: "Applies to", Texts: []string{applies}},
			fact{Term: "Findings", Texts: []string{strings.Join(codes, ", ")}},
			fact{Term: "Approved by", Texts: []string{cmp.Or(approved, notKnown)}})
		if e.Ticket != "" {
			x.Facts = append(x.Facts, fact{Term: "Ticket", Texts: []string{e.Ticket}})
		}
	}
	return out
}
