package plane

import (
	"reflect"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// TestEveryFlagIsOverlaid gives each flag alone and expects it, and it alone, to reach the
// settings of an earlier run. It fails for a flag that Overlay does not know.
func TestEveryFlagIsOverlaid(t *testing.T) {
	values := map[string]string{
		"bool": "true", "string": "/other", "int64": "17", "duration": "3s", "stringArray": "--v=5", "user": "alice:devs",
	}
	names := pflag.NewFlagSet("", pflag.ContinueOnError)
	new(Spec).AddFlags(names)
	names.VisitAll(func(flag *pflag.Flag) {
		value, ok := values[flag.Value.Type()]
		if !ok {
			t.Fatalf("--%s has a type this test has no value for: %s", flag.Name, flag.Value.Type())
		}
		var flagged Spec
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		flagged.AddFlags(flags)
		if err := flags.Parse([]string{"--" + flag.Name + "=" + value}); err != nil {
			t.Fatal(err)
		}
		var stored, untouched Spec
		stored.Overlay(flagged, flags.Changed)
		if reflect.DeepEqual(stored, untouched) {
			t.Errorf("--%s=%s does not reach the settings", flag.Name, value)
		}
		if flag.Name != "etcd-prefix" && stored.EtcdPrefix != "" {
			t.Errorf("--%s carried the default of --etcd-prefix along", flag.Name)
		}
	})
}

func TestEmptyUserTakesUsersBack(t *testing.T) {
	var flagged Spec
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flagged.AddFlags(flags)
	if err := flags.Parse([]string{"--user="}); err != nil {
		t.Fatal(err)
	}
	stored := Spec{Users: []User{{Name: "alice"}}}
	stored.Overlay(flagged, flags.Changed)
	if len(stored.Users) != 0 {
		t.Errorf("users are %v", stored.Users)
	}
}

func TestParseUser(t *testing.T) {
	for value, want := range map[string]User{
		"alice":                     {Name: "alice"},
		"alice:devs":                {Name: "alice", Groups: []string{"devs"}},
		"alice:devs,system:masters": {Name: "alice", Groups: []string{"devs", "system:masters"}},
	} {
		got, err := ParseUser(value)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %v (%v), want %v", value, got, err, want)
		}
	}
	for _, value := range []string{"", ":devs", "../x", "a/b", "alice:", "alice:devs,", "admin", "-x", "a b"} {
		if got, err := ParseUser(value); err == nil {
			t.Errorf("%q was taken as %v", value, got)
		}
	}
}

func TestValidate(t *testing.T) {
	for name, test := range map[string]struct {
		spec Spec
		ok   bool
	}{
		"defaults":              {Spec{EtcdPrefix: "/registry"}, true},
		"auth without TLS":      {Spec{EtcdAuth: true, NoEtcdTLS: true}, false},
		"interval without file": {Spec{EncryptionReloadInterval: time.Second}, false},
		"interval with file":    {Spec{EncryptionReloadInterval: time.Second, EncryptionProviderConfig: "/f"}, true},
		"negative interval":     {Spec{EncryptionReloadInterval: -time.Second, EncryptionProviderConfig: "/f"}, false},
	} {
		if err := test.spec.Validate(); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
