// Package pipeline writes what a bundle says in the forms that build pipelines and monitoring read. It never names an object.
package pipeline

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/svmctl/svmctl/internal/verify/evidence"
)

type junitSuites struct {
	XMLName xml.Name   `xml:"testsuites"`
	Suite   junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string          `xml:"name,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Time       string          `xml:"time,attr"` // seconds
	Timestamp  string          `xml:"timestamp,attr"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Failure *junitProblem `xml:"failure"`
	Error   *junitProblem `xml:"error"`
	Output  string        `xml:"system-out,omitempty"`
}

type junitProblem struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

const suite = "svmctl"

// JUnit writes the claims as test cases. One that is inconclusive is an error, and so is a bundle that claims nothing: pipelines show
// skipped tests in green.
func JUnit(w io.Writer, d *evidence.Document) error {
	s := junitSuite{
		Name: suite, Time: strconv.FormatFloat(d.Scan.Time.FinishedAt.Sub(d.Scan.Time.StartedAt).Seconds(), 'f', 3, 64),
		Timestamp: d.Scan.Time.StartedAt.UTC().Format(time.RFC3339), Properties: properties(d.Scan),
	}
	for _, claim := range d.Scan.Claims {
		s.add(testCase(claim))
	}
	if len(d.Scan.Claims) == 0 {
		s.add(junitCase{Class: suite, Name: "claims", Error: &junitProblem{Message: "nothing was claimed", Type: string(evidence.Inconclusive)}})
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(junitSuites{Suite: s}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (s *junitSuite) add(c junitCase) {
	s.Cases = append(s.Cases, c)
	s.Tests++
	if c.Failure != nil {
		s.Failures++
	}
	if c.Error != nil {
		s.Errors++
	}
}

// testCase is named by the claim's ID alone: pipelines follow a test from run to run by its name.
func testCase(claim evidence.Claim) junitCase {
	c := junitCase{Class: suite, Name: inert(claim.ID)}
	problem := junitProblem{Message: inert(claim.Statement), Type: inert(string(claim.Result)), Text: details(claim)}
	if len(claim.Why) > 0 {
		problem.Message = strings.TrimSuffix(problem.Message, ".") + ": " + inert(claim.Why[0])
	}
	switch claim.Result {
	case evidence.Pass:
		c.Output = inert(claim.Statement) + "\n" + details(claim)
	case evidence.Fail:
		c.Failure = &problem
	default:
		c.Error = &problem
	}
	return c
}

func details(claim evidence.Claim) string {
	var out strings.Builder
	for _, why := range claim.Why {
		fmt.Fprintln(&out, inert(why))
	}
	for _, list := range []struct {
		name   string
		values []string
	}{{"basis", claim.Basis}, {"limitations", claim.Limitations}, {"exceptions", claim.Exceptions}, {"controls", claim.Controls}} {
		if len(list.values) > 0 {
			fmt.Fprintf(&out, "%s: %s\n", list.name, inert(strings.Join(list.values, ", ")))
		}
	}
	return out.String()
}

// properties leaves out what is not known.
func properties(s *evidence.Scan) []junitProperty {
	var known []junitProperty
	for _, p := range []junitProperty{
		{"cluster", s.Cluster.Label},
		{"kube-system-namespace-uid", s.Cluster.KubeSystemNamespaceUID},
		{"etcd-cluster-id", s.Cluster.EtcdClusterID},
		{"snapshot-sha256", s.AsOf.SnapshotHash},
		{"revision", strconv.FormatInt(s.AsOf.Revision, 10)},
		{"tool", strings.TrimSpace(s.Tool.Name + " " + s.Tool.Version)},
		{"scan", s.ID},
		{"merkle-root", s.Merkle.Root},
	} {
		if p.Value != "" {
			known = append(known, junitProperty{p.Name, inert(p.Value)})
		}
	}
	return known
}

// inert replaces all that is not printable text by its escape: XML has no way to write most control characters, and the others steer
// the terminals that logs are read on.
func inert(s string) string {
	var out strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			out.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		out.WriteString(quoted[1 : len(quoted)-1])
	}
	return out.String()
}
