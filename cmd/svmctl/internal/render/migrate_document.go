package render

import (
	"io"

	"github.com/svmctl/svmctl/internal/migrate"
)

func migrationDocument(w io.Writer, r *migrate.Report, opts Options) error {
	head := struct {
		*migrate.Report
		APIServers struct {
			agreementDocument
			Forced bool `json:"forced"`
		} `json:"apiservers"`
		Before *auditHead `json:"before"`
		After  *auditHead `json:"after"`
		// What can be long comes last.
		PrunedCount     int64 `json:"prunedCount"`
		PrunedOmitted   int64 `json:"prunedOmitted"`
		FailureCount    int64 `json:"failureCount"`
		FailuresOmitted int64 `json:"failuresOmitted"`
		Pruned          list  `json:"pruned"`
		Failures        list  `json:"failures"`
	}{Report: r, PrunedCount: r.PrunedCount(), FailureCount: r.FailureCount()}
	head.APIServers.agreementDocument, head.APIServers.Forced = documentOf(r.APIServers.Agreement), r.APIServers.Forced
	prunedLimit, failureLimit := r.PrunedCount(), r.FailureCount()
	if opts.MaxFindings >= 0 {
		prunedLimit, failureLimit = min(prunedLimit, opts.MaxFindings), min(failureLimit, opts.MaxFindings)
	}
	head.PrunedOmitted, head.FailuresOmitted = r.PrunedCount()-prunedLimit, r.FailureCount()-failureLimit
	d := newDocument(opts.Format)
	if r.After == nil {
		limit := findingLimit(r.Before, opts)
		head.Before = &auditHead{Report: r.Before, FindingsOmitted: r.Before.FindingCount - limit, Findings: d.list(findings(r.Before, limit))}
	} else {
		// What was stale before and is settled is told by the outcomes; what is left is in after.
		head.Before = &auditHead{Report: r.Before, FindingsOmitted: r.Before.FindingCount, Findings: d.list(nothing)}
		limit := findingLimit(r.After, opts)
		head.After = &auditHead{Report: r.After, FindingsOmitted: r.After.FindingCount - limit, Findings: d.list(findings(r.After, limit))}
	}
	head.Pruned = d.list(pruned(r, prunedLimit))
	head.Failures = d.list(func(item func(any) error) error {
		for f, err := range r.Failures() {
			if err != nil {
				return err
			}
			if failureLimit--; failureLimit < 0 {
				return nil
			}
			if f.Fields == nil { // the spool does not keep an empty list
				f.Fields = []string{}
			}
			if err := item(f); err != nil {
				return err
			}
		}
		return nil
	})
	return d.write(w, head)
}

func nothing(func(any) error) error { return nil }
