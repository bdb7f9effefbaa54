package page

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/svmctl/svmctl/internal/verify/evidence"
)

// actors tell who ran it, the operating system's user first.
func actors(a evidence.Actor) []string {
	who := cmp.Or(a.OSUser, "an unknown user")
	if a.Host != "" {
		who += " on " + a.Host
	}
	out := []string{who}
	if k := a.Kubernetes; k != nil {
		text := "Kubernetes: " + k.Username
		if len(k.Groups) > 0 {
			text += " (" + strings.Join(k.Groups, ", ") + ")"
		}
		out = append(out, text)
	} else {
		out = append(out, "Kubernetes: the API was not asked who this is, or did not tell")
	}
	if a.EtcdUser != "" {
		out = append(out, "etcd user: "+a.EtcdUser)
	}
	if c := a.EtcdClientCert; c != nil {
		out = append(out, fmt.Sprintf("etcd client certificate: %s, issued by %s, serial %s, valid until %s, sha256:%s", c.Subject, c.Issuer, c.Serial, clock(c.NotAfter), c.SHA256))
	}
	if c := a.CI; c != nil {
		out = append(out, fmt.Sprintf("Pipeline: %s %s", c.Provider, c.RunURL))
	}
	return out
}

func provenance(s *evidence.Scan) []fact {
	t := s.Tool
	facts := []fact{
		{Term: "Run by", Texts: actors(s.Actor)},
		{Term: "Started", Texts: []string{clock(s.Time.StartedAt)}},
		{Term: "Finished", Texts: []string{clock(s.Time.FinishedAt)}},
		{Term: "Clock", Texts: []string{cmp.Or(s.Time.Clock, notKnown)}},
	}
	var others []string
	for _, c := range s.Time.Corroboration {
		skew := "it agrees with the local clock"
		switch {
		case c.SkewMS > 0:
			skew = fmt.Sprintf("the local clock was %s ms ahead of it", number(c.SkewMS))
		case c.SkewMS < 0:
			skew = fmt.Sprintf("the local clock was %s ms behind it", number(-c.SkewMS))
		}
		others = append(others, fmt.Sprintf("%s: %s; %s", c.Source, clock(c.At), skew))
	}
	if others == nil {
		others = []string{"none: the time is what the local clock says"}
	}
	facts = append(facts, fact{Term: "Other clocks", Texts: others})
	tool := strings.TrimSpace(cmp.Or(t.Name, "svmctl") + " " + t.Version)
	if t.GitCommit != "" {
		tool += ", commit " + t.GitCommit
	}
	if t.GoVersion != "" {
		tool += ", " + t.GoVersion
	}
	facts = append(facts,
		fact{Term: "Tool", Texts: []string{tool}},
		fact{Term: "SHA-256 of its binary", Texts: []string{cmp.Or(t.BinarySHA256, notKnown)}, Code: true})
	if len(t.Arguments) > 0 {
		facts = append(facts, fact{Term: "Arguments", Texts: []string{strings.Join(t.Arguments, " ")}, Code: true})
	}
	if c := s.Config; c != nil {
		texts := []string{c.Hash}
		for _, r := range c.Rules {
			texts = append(texts, strings.Join(r.Resources, ", ")+": "+strings.Join(r.Providers, ", then ")+"; the first one writes")
		}
		facts = append(facts, fact{Term: "EncryptionConfiguration", Texts: texts})
	}
	if !s.AsOf.ValidUntil.IsZero() {
		facts = append(facts, fact{Term: "Another one is due", Texts: []string{clock(s.AsOf.ValidUntil)}})
	}
	facts = append(facts, fact{Term: "ID of this evidence", Texts: []string{cmp.Or(s.ID, notKnown)}, Code: true})
	m := s.Merkle
	facts = append(facts,
		fact{Term: "Records", Texts: []string{fmt.Sprintf("%s in a Merkle tree (%s, %s)", number(m.TreeSize), m.Algorithm, m.LeafFormat)}},
		fact{Term: "Root of the tree", Texts: []string{cmp.Or(m.Root, notKnown)}, Code: true})
	mode := map[evidence.Mode]string{
		evidence.Names: "shown", evidence.HMAC: "replaced by a keyed hash", evidence.Counts: "left out; objects are counted alone",
	}[s.Redaction.Mode]
	names := cmp.Or(mode, notKnown)
	if s.Redaction.Algorithm != "" {
		names += ", " + s.Redaction.Algorithm
	}
	if s.Redaction.Mode == evidence.HMAC || s.Redaction.Mode == evidence.Counts {
		names += ", key " + cmp.Or(s.Redaction.KeyID, "made for this bundle")
	}
	facts = append(facts, fact{Term: "Names of objects", Texts: []string{names}})
	if p := s.Previous; p != nil {
		facts = append(facts,
			fact{Term: "Statement before this one", Texts: []string{fmt.Sprintf("of revision %s, %s", number(p.Revision), clock(p.ScannedAt))}},
			fact{Term: "Its SHA-256", Texts: []string{p.SHA256}, Code: true})
	} else {
		facts = append(facts, fact{Term: "Statement before this one", Texts: []string{"none was named, and none of this cluster was found beside it"}})
	}
	return facts
}
