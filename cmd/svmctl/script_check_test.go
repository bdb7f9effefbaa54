package main

import (
	"encoding/json"
	"errors"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"sigs.k8s.io/yaml"
)

// status CODE COMMAND [ARG...] runs a command that has to end with this exit status.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status CODE COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// complains ERROR HINT checks that the last command wrote nothing to stdout, and to stderr one error line and one or more
// hint lines that match, and nothing else.
func complains(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: complains ERROR HINT")
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("stdout is not empty: %q", out)
	}
	said := ts.ReadFile("stderr")
	first, hints, _ := strings.Cut(said, "\n")
	text, ok := strings.CutPrefix(first, "svmctl: error: ")
	if !ok || !regexp.MustCompile(args[0]).MatchString(text) {
		ts.Fatalf("the error is %q, want %s", first, args[0])
	}
	if !regexp.MustCompile(`^(svmctl: hint: [^\n]+\n)+$`).MatchString(hints) || !regexp.MustCompile(args[1]).MatchString(hints) {
		ts.Fatalf("the hints are %q, want %s", hints, args[1])
	}
}

// field PATH VALUE looks into the JSON or YAML that the last command wrote to stdout. A path is the names and indexes
// joined by dots; len is the length of a list, and VALUE is in JSON.
func field(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: field PATH VALUE")
	}
	var at any
	ts.Check(yaml.Unmarshal([]byte(ts.ReadFile("stdout")), &at))
	for step := range strings.SplitSeq(args[0], ".") {
		switch v := at.(type) {
		case map[string]any:
			value, ok := v[step]
			if !ok {
				ts.Fatalf("%s: there is no %q", args[0], step)
			}
			at = value
		case []any:
			if step == "len" {
				at = len(v)
				continue
			}
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(v) {
				ts.Fatalf("%s: there is no item %q among %d", args[0], step, len(v))
			}
			at = v[i]
		default:
			ts.Fatalf("%s: %q of %v", args[0], step, at)
		}
	}
	got, err := json.Marshal(at)
	ts.Check(err)
	if string(got) != args[1] {
		ts.Fatalf("%s is %s, want %s", args[0], got, args[1])
	}
}
