package main

import (
	"slices"
	"testing"

	"github.com/spf13/cobra"
)

// TestArgumentsAreRecordedWithoutSecrets: a bundle tells how the command was called, and lets nobody in.
func TestArgumentsAreRecordedWithoutSecrets(t *testing.T) {
	root := newRootCommand(streams{}, func(string) (string, bool) { return "", false }, nil)
	var found []string
	cmd, rest, err := root.Find([]string{"migrate"})
	if err != nil || len(rest) > 0 {
		t.Fatal(rest, err)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		found = recorded(cmd, args)
		return nil
	}
	root.SetArgs([]string{"migrate", "secrets", "--to", "aescbc:key2", "--evidence", "out", "--token", "SECRET", "--password=SECRET", "--cluster-label", "--token", "--expect", "secrets=kms:a:b", "--expect", "configmaps=identity",
		"--endpoints", "https://user:SECRET@10.0.0.1:2379,https://10.0.0.2:2379?a=SECRET", "--server", "https://user:SECRET@api:6443/x", "--proxy-url", "http://user:SECRET@proxy", "--yes"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	want := []string{"migrate", "secrets", "--cluster-label=--token", "--endpoints=https://10.0.0.1:2379", "--endpoints=https://10.0.0.2:2379", "--expect=secrets=kms:a:b", "--expect=configmaps=identity",
		"--password=…", "--proxy-url=http://proxy", "--server=https://api:6443/x", "--to=aescbc:key2", "--token=…", "--yes=true"}
	if !slices.Equal(found, want) {
		t.Errorf("recorded %q\nwant %q", found, want)
	}
	for text, want := range map[string]string{"events=https://u:SECRET@a:1,https://b:2": "events=https://a:1,https://b:2", "secrets=aescbc:key": "secrets=aescbc:key", "https://%zz": "…", "": ""} {
		if got := withoutCredentials(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}
