package evidence

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
)

//go:embed controls.json
var controlsJSON []byte

// Control is a requirement that somebody may be audited by, in words of our own: their texts are not ours to print.
type Control struct {
	ID         string   `json:"id"`        // such as NIST-800-53r5:SC-28(1)
	Framework  string   `json:"framework"` // and its edition
	Number     string   `json:"number"`
	About      string   `json:"about"`      // in a few words
	Claims     []string `json:"claims"`     // that speak to it
	Shows      string   `json:"shows"`      // what they show
	CannotShow string   `json:"cannotShow"` // what they do not
	OSCAL      string   `json:"oscal"`      // control ID in OSCAL's catalogue, such as sc-28.1; empty: it has none
	Source     string   `json:"source"`     // where it can be read
}

// Controls are all that are known, in a fixed order.
var Controls = sync.OnceValue(func() []Control {
	var file struct {
		Controls []Control `json:"controls"`
	}
	if err := json.Unmarshal(controlsJSON, &file); err != nil {
		panic(fmt.Sprintf("evidence: controls.json: %v", err))
	}
	return file.Controls
})

// controlsOf are the IDs of those that a claim speaks to.
func controlsOf(claim string) []string {
	ids := []string{}
	for _, c := range Controls() {
		if slices.Contains(c.Claims, claim) {
			ids = append(ids, c.ID)
		}
	}
	return ids
}
