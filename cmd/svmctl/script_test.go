package main

import (
	"flag"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var _ = flag.Bool("update", false, "write the files that tests compare with")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"svmctl": main})
}

// TestScripts runs testdata/script: the contract of the command line as a person types it.
func TestScripts(t *testing.T) {
	commands := etcdCommands()
	commands["status"] = status
	commands["complains"] = complains
	commands["field"] = field
	commands["kine"] = startKine
	commands["silent-etcd"] = startSilent
	commands["closed-port"] = func(ts *testscript.TestScript, _ bool, _ []string) { ts.Setenv("ADDRESS", freeAddress(ts)) }
	testscript.Run(t, testscript.Params{
		Dir:  "../../testdata/script",
		Cmds: commands,
		// All that is wrong with a script is told at once.
		ContinueOnError: true,
		Setup: func(env *testscript.Env) error {
			env.Values[harness{}] = &harness{t: env.T().(testing.TB)}
			return nil
		},
	})
}
