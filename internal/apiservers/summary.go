package apiservers

import (
	"fmt"
	"strings"
	"time"
)

// Summary says in one line what keeps the apiservers from agreeing, or from being known to, and names each one that it is
// about. It is empty where they agree.
func (a Agreement) Summary() string {
	var parts []string
	for _, d := range a.Disagreements {
		parts = append(parts, d.sentence(short, "15:04:05Z"))
	}
	if len(a.Missing) > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d answered; missing: %s", a.Asked, a.Known, strings.Join(a.Missing, ", ")))
	}
	if len(parts) == 0 && a.Agree == nil {
		parts = a.Unchecked
	}
	return strings.Join(parts, "; ")
}

// String says the disagreement in one line, with digests at full length.
func (d Disagreement) String() string {
	return d.sentence(func(text string) string { return text }, time.RFC3339)
}

func (d Disagreement) sentence(shown func(string) string, clock string) string {
	text := d.Server
	if d.Identity != "" {
		text += " (" + d.Identity + ")"
	}
	text += fmt.Sprintf(": %s is %s", d.What, shown(d.Found))
	switch {
	case d.Wanted != "":
		text += ", and should be " + shown(d.Wanted)
	case d.Others != "":
		text += ", of the others " + shown(d.Others)
	}
	if !d.ReloadedAt.IsZero() {
		text += ", reloaded at " + d.ReloadedAt.UTC().Format(clock)
	}
	return text
}

// short leaves of a digest what people compare by eye.
func short(text string) string {
	const prefix, keep = "sha256:", 12
	if strings.HasPrefix(text, prefix) && len(text) > len(prefix)+keep {
		return text[:len(prefix)+keep] + "…"
	}
	return text
}
