package render

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/svmctl/svmctl/internal/apiservers"
)

// apiserversLine tells whether every apiserver writes the same. What has been said already is not said twice.
func apiserversLine(a apiservers.Agreement, said string) string {
	details := ""
	if summary := visible(a.Summary()); summary != "" && !strings.Contains(said, summary) {
		details = summary
	}
	line := ""
	switch {
	case a.Agree == nil:
		line = "apiservers not checked: late writes under another key or version are possible"
		if details != "" {
			line += " (" + details + ")"
		}
	case !*a.Agree:
		line = "the apiservers do not agree"
		if apart := func(d apiservers.Disagreement) bool { return d.Wanted == "" }; len(a.Missing) == 0 && !slices.ContainsFunc(a.Disagreements, apart) {
			line = "the apiservers do not use what is at hand"
		}
		if details != "" {
			line += ": " + details
		}
	default:
		line = fmt.Sprintf("%d of %s asked, they agree", a.Asked, Count(int64(a.Known), "apiserver"))
	}
	if len(a.Gone) > 0 {
		line += "; gone: " + visibleList(a.Gone)
	}
	return line + "\n"
}

// agreementDocument is an agreement as it stands in a document: what does not apply is empty and not left out.
type agreementDocument struct {
	Known         int                    `json:"known"`
	Counted       bool                   `json:"counted"`
	Asked         int                    `json:"asked"`
	Agree         *bool                  `json:"agree"`
	Disagreements []disagreementDocument `json:"disagreements"`
	Missing       []string               `json:"missing"`
	Gone          []string               `json:"gone"`
	Unchecked     []string               `json:"unchecked"`
}

type disagreementDocument struct {
	Server     string     `json:"server"`
	Identity   string     `json:"identity"`
	What       string     `json:"what"`
	Found      string     `json:"found"`
	Others     string     `json:"others"`
	Wanted     string     `json:"wanted"`
	ReloadedAt *time.Time `json:"reloadedAt"`
}

func documentOf(a apiservers.Agreement) agreementDocument {
	d := agreementDocument{Known: a.Known, Counted: a.Counted, Asked: a.Asked, Agree: a.Agree, Disagreements: []disagreementDocument{},
		Missing: orEmpty(a.Missing), Gone: orEmpty(a.Gone), Unchecked: orEmpty(a.Unchecked)}
	for _, one := range a.Disagreements {
		out := disagreementDocument{Server: one.Server, Identity: one.Identity, What: one.What, Found: one.Found, Others: one.Others, Wanted: one.Wanted}
		if !one.ReloadedAt.IsZero() {
			at := one.ReloadedAt.UTC()
			out.ReloadedAt = &at
		}
		d.Disagreements = append(d.Disagreements, out)
	}
	return d
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
