package page

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/svmctl/svmctl/internal/verify/evidence"
)

type servers struct {
	Summary string
	Facts   []fact
	Servers []server
}

type server struct {
	Name     string
	Problem  string // empty: it answered
	Facts    []fact
	Writes   []row
	NoWrites string // why nothing is known of them
}

func serversOf(a *evidence.APIServers) servers {
	if a == nil {
		return servers{Summary: "The apiservers were not asked."}
	}
	if !a.Asked {
		return servers{Summary: fmt.Sprintf("The apiservers were not asked: %s.", cmp.Or(a.Why, "nobody said to"))}
	}
	out := servers{}
	out.Summary = fmt.Sprintf("%d of %s answered; their leases tell how many there are.", a.Answered, count(int64(a.Known), "apiserver"))
	if !a.Counted {
		out.Summary = fmt.Sprintf("%d of %s that are known answered; there may be more, as their leases could not be read.", a.Answered, count(int64(a.Known), "apiserver"))
	}
	agree := fact{Term: "Same configuration", Texts: []string{notKnown}, Loud: true}
	if a.Agree != nil {
		agree.Texts, agree.Loud = []string{"yes: all have loaded the same EncryptionConfiguration"}, false
		if !*a.Agree {
			agree.Texts, agree.Loud = []string{"no: they do not all have the same EncryptionConfiguration"}, true
		}
	}
	out.Facts = append(out.Facts, agree)
	for _, f := range []fact{
		{Term: "Hash that is expected", Texts: some(a.Expected), Code: true},
		{Term: "They differ in", Texts: a.Disagreements, Loud: true},
		{Term: "No answer from", Texts: a.Missing, Loud: true},
		{Term: "Not checked", Texts: a.Unchecked},
	} {
		if len(f.Texts) > 0 {
			out.Facts = append(out.Facts, f)
		}
	}
	if !a.OverridesKnown {
		out.Facts = append(out.Facts, fact{Term: "Resources in another etcd", Texts: []string{"not told by every apiserver"}})
	}
	for _, s := range a.Servers {
		out.Servers = append(out.Servers, serverOf(s))
	}
	return out
}

func serverOf(s evidence.APIServer) server {
	out := server{Name: cmp.Or(s.Address, s.Hostname, s.Identity, "(unknown)")}
	if !s.Answered {
		out.Problem = "Did not answer"
		if s.Problem != "" {
			out.Problem += ": " + s.Problem
		}
	}
	loaded := clock(s.LoadedAt)
	if !s.LoadedAt.IsZero() {
		loaded = "since " + loaded
	}
	var kms []string
	for _, provider := range slices.Sorted(maps.Keys(s.KMSKeyIDs)) {
		kms = append(kms, provider+" "+s.KMSKeyIDs[provider])
	}
	var flags []string
	for _, flag := range slices.Sorted(maps.Keys(s.Flags)) {
		flags = append(flags, "--"+strings.TrimPrefix(flag, "--")+"="+s.Flags[flag])
	}
	for _, f := range []fact{
		{Term: "Host", Texts: some(s.Hostname)},
		{Term: "Identity", Texts: some(s.Identity), Code: true},
		{Term: "Version", Texts: some(s.Version)},
		{Term: "Started", Texts: []string{clock(s.StartedAt)}},
		{Term: "Has written as it does now", Texts: []string{loaded}},
		{Term: "Hash of its EncryptionConfiguration", Texts: []string{cmp.Or(s.EncryptionConfig, notKnown)}, Code: true},
		{Term: "KMS key IDs, hashed", Texts: kms, Code: true},
		{Term: "Prefix in etcd", Texts: some(s.EtcdPrefix), Code: true},
		{Term: "Resources in another etcd", Texts: s.Overrides, Code: true, Loud: true},
		{Term: "Flags", Texts: flags, Code: true},
		{Term: "Flags not told", Texts: some(s.FlagsProblem)},
	} {
		if len(f.Texts) > 0 && (s.Answered || f.Term == "Host" || f.Term == "Identity") {
			out.Facts = append(out.Facts, f)
		}
	}
	for _, w := range s.Writes {
		prefix := cmp.Or(w.Prefix, "unencrypted")
		out.Writes = append(out.Writes, row{Cells: []string{cmp.Or(w.Resource, "(not told)"), prefix, w.Status, number(w.Count)}})
	}
	switch {
	case len(s.Writes) > 0 || !s.Answered:
	case !s.MetricsRead:
		out.NoWrites = "What it writes is not known: its metrics were not read"
		if s.MetricsProblem != "" {
			out.NoWrites += " (" + s.MetricsProblem + ")"
		}
		out.NoWrites += "."
	default:
		out.NoWrites = "It has written nothing since it was started."
	}
	return out
}
