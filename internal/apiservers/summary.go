package apiservers

import (
	"fmt"
	"strings"
)

// Summary says in one line what keeps the apiservers from agreeing, or from being known to, and names each one that it is
// about. It is empty where they agree.
func (a Agreement) Summary() string {
	var parts []string
	for _, d := range a.Disagreements {
		part := d.Server
		if d.Identity != "" {
			part += " (" + d.Identity + ")"
		}
		part += fmt.Sprintf(": %s is %s", d.What, short(d.Found))
		switch {
		case d.Wanted != "":
			part += ", and should be " + short(d.Wanted)
		case d.Others != "":
			part += ", of the others " + short(d.Others)
		}
		if !d.ReloadedAt.IsZero() {
			part += ", reloaded at " + d.ReloadedAt.UTC().Format("15:04:05Z")
		}
		parts = append(parts, part)
	}
	if len(a.Missing) > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d answered; missing: %s", a.Asked, a.Known, strings.Join(a.Missing, ", ")))
	}
	if len(parts) == 0 && a.Agree == nil {
		parts = a.Unchecked
	}
	return strings.Join(parts, "; ")
}

// short leaves of a digest what people compare by eye.
func short(text string) string {
	const prefix, keep = "sha256:", 12
	if strings.HasPrefix(text, prefix) && len(text) > len(prefix)+keep {
		return text[:len(prefix)+keep] + "…"
	}
	return text
}
