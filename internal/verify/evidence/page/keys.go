package page

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// keyReport is what the page tells of a KeyReport, which docs/json.md describes.
type keyReport struct {
	CanRemove *struct {
		Key    string   `json:"key"`
		Answer string   `json:"answer"`
		Reason string   `json:"reason"`
		After  []string `json:"after"`
	} `json:"canRemove"`
	Keys []struct {
		Provider    string   `json:"provider"`
		Version     string   `json:"version"`
		Key         string   `json:"key"`
		KeyIDHash   string   `json:"keyIDHash"`
		Configured  bool     `json:"configured"`
		Writes      []string `json:"writes"`
		Total       int64    `json:"total"`
		Removable   string   `json:"removable"`
		Destroyable string   `json:"destroyable"`
		Reason      string   `json:"reason"`
	} `json:"keys"`
	Doubts   []string `json:"doubts"`
	Warnings []string `json:"warnings"`
}

// keysAsked is where each key is needed, and what may be done with it.
type keysAsked struct {
	Question string // that was asked of one key; empty: of none
	Answer   string
	Loud     bool // it is not yes
	Reason   string
	After    []string // what may still need it before it is destroyed
	Rows     []row
	Hashes   []key
	Doubts   []string
}

func keysOf(report any) (*keysAsked, error) {
	if report == nil {
		return nil, nil
	}
	text, err := json.Marshal(report)
	if err != nil {
		return nil, fmt.Errorf("encoding the report of keys: %w", err)
	}
	var r keyReport
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("reading the report of keys: %w", err)
	}
	out := &keysAsked{Doubts: slices.Concat(r.Doubts, r.Warnings)}
	if c := r.CanRemove; c != nil {
		out.Question, out.Answer, out.Loud, out.Reason, out.After = fmt.Sprintf("Can %s be removed from the EncryptionConfiguration?", c.Key), c.Answer, c.Answer != "yes", c.Reason, c.After
	}
	for _, k := range r.Keys {
		name := keyName(k.Provider, k.Version, k.Key, k.KeyIDHash)
		configured := "yes"
		if !k.Configured {
			configured = "no"
		}
		writes := "nothing"
		if len(k.Writes) > 0 {
			writes = strings.Join(k.Writes, ", ")
		}
		out.Rows = append(out.Rows, row{Cells: []string{name, configured, writes, number(k.Total), k.Removable, k.Destroyable, k.Reason}})
		if k.KeyIDHash != "" {
			out.Hashes = append(out.Hashes, key{Label: name, Hash: k.KeyIDHash})
		}
	}
	return out, nil
}
