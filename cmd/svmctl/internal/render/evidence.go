package render

import (
	"fmt"
	"io"
	"strings"

	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/evidence"
)

// Verification writes what came of checking an evidence bundle.
func Verification(w io.Writer, v *evidence.Verification, opts Options) error {
	switch opts.Format {
	case JSON, YAML:
		return newDocument(opts.Format).write(w, v)
	}
	var out strings.Builder
	for _, c := range v.Checks {
		if len(c.Problems) == 0 {
			continue
		}
		for _, p := range c.Problems {
			line := p.Message
			if p.File != "" {
				line = p.File + ": " + line
			}
			fmt.Fprintf(&out, "%s  %s\n", checkWord(opts, c.Verdict), Inert(line))
		}
	}
	verificationChecks(&out, v, opts)
	if s := v.Scan; s != nil {
		fmt.Fprintf(&out, "\n%s of %s, %s\n", Inert(cluster(s)), s.Time.StartedAt.Format("2006-01-02 15:04:05 UTC"), Count(s.Merkle.TreeSize, "record"))
		for _, c := range v.Claims {
			fmt.Fprintf(&out, "%s  %s%s  %s\n", Inert(c.ID), resultWord(opts, c.Result), strings.Repeat(" ", max(0, len(evidence.Inconclusive)-len(c.Result))), Inert(c.Statement))
			for _, why := range c.Why {
				fmt.Fprintf(&out, "        %s\n", Inert(why))
			}
		}
	}
	verificationSample(&out, v)
	verificationChanged(&out, v, opts)
	fmt.Fprintf(&out, "\nVerdict on the bundle: %s\n", opts.Palette.Verdict(v.Verdict))
	_, err := io.WriteString(w, out.String())
	return err
}

func checkWord(opts Options, v verify.Verdict) string {
	switch v {
	case verify.Incomplete:
		return opts.Palette.bad.Sprint("wrong")
	case verify.Indeterminate:
		return opts.Palette.doubtful.Sprint("open ")
	}
	return "note "
}

func resultWord(opts Options, r evidence.Result) string {
	switch r {
	case evidence.Pass:
		return opts.Palette.good.Sprint(string(r))
	case evidence.Fail:
		return opts.Palette.bad.Sprint(string(r))
	}
	return opts.Palette.doubtful.Sprint(string(r))
}

// cluster names what a bundle speaks of.
func cluster(s *evidence.Scan) string {
	name := "etcd cluster " + s.Cluster.EtcdClusterID
	if s.AsOf.Snapshot != "" {
		name = "file " + s.AsOf.Snapshot
	}
	if s.Cluster.Label != "" {
		name = s.Cluster.Label + ", " + name
	}
	return fmt.Sprintf("%s at revision %d", name, s.AsOf.Revision)
}

// verificationChecks tells in a line what was checked, and who signed.
func verificationChecks(out *strings.Builder, v *evidence.Verification, opts Options) {
	var held []string
	for _, c := range v.Checks {
		if c.Verdict == verify.Complete {
			held = append(held, c.What)
		}
	}
	fmt.Fprintf(out, "checked and found right: %s\n", strings.Join(held, ", "))
	switch s := v.Signature; {
	case !s.Signed:
		fmt.Fprintf(out, "signature: %s: anybody could have made this bundle\n", opts.Palette.doubtful.Sprint("none"))
	case s.Fingerprint == "":
		fmt.Fprintf(out, "signature: %s\n", opts.Palette.bad.Sprint("not shown to be right"))
	case s.Trusted:
		fmt.Fprintf(out, "signature: %s, by the key that was given, %s\n", opts.Palette.good.Sprint("right"), s.Fingerprint)
	default:
		fmt.Fprintf(out, "signature: right, by the key in the bundle, %s: compare it with the signer's, or name that with --public-key\n", s.Fingerprint)
	}
}

func verificationSample(out *strings.Builder, v *evidence.Verification) {
	if v.Sample == nil {
		return
	}
	fmt.Fprintf(out, "\nsample: %s proven to be among those that were stated\n", Count(int64(len(v.Sample.Records)), "record"))
	for _, r := range v.Sample.Records {
		fmt.Fprintf(out, "  %d  %s  %s %s  %s\n", r.Index, Inert(r.Key), r.Record.Provider, Inert(r.Record.KeyName), r.Record.State)
	}
}

func verificationChanged(out *strings.Builder, v *evidence.Verification, opts Options) {
	c := v.Changed
	if c == nil {
		return
	}
	if c.Then != nil {
		fmt.Fprintf(out, "\netcd at revision %d: %s as recorded\n", c.Then.Revision, Count(c.Then.Same, "key"))
	}
	fmt.Fprintf(out, "since then, up to revision %d: %d rewritten, %d created, %d deleted, %d as they were\n", c.Now.Revision, c.Now.Rewritten, c.Now.Created, c.Now.Deleted, c.Now.Same)
	if c.PlaintextNow > 0 {
		fmt.Fprintf(out, "%s of these are in plaintext, where encryption was expected\n", opts.Palette.bad.Sprint(c.PlaintextNow))
	}
	if opts.Format == Wide {
		for _, k := range c.Now.Named {
			fmt.Fprintf(out, "  %s\n", Inert(k))
		}
	}
}
