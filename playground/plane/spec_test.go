package plane

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// TestEveryFlagIsOverlaid gives each flag alone and expects it, and it alone, to reach the
// settings of an earlier run. It fails for a flag that Overlay does not know.
func TestEveryFlagIsOverlaid(t *testing.T) {
	values := map[string]string{
		"bool": "true", "string": "/other", "int": "2", "int64": "17", "duration": "3s", "stringArray": "--v=5", "user": "alice:devs",
		"name=file": "kube-apiserver-2=/other",
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

func TestEncryptionFiles(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	file := filepath.Join(dir, "second.yaml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	parse := func(values ...string) (Spec, error) {
		var spec Spec
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		spec.AddFlags(flags)
		for _, value := range values {
			if err := flags.Set("encryption-provider-config-of", value); err != nil {
				return Spec{}, err
			}
		}
		return spec, spec.ResolveEncryption()
	}
	spec, err := parse("kube-apiserver-2=second.yaml", "kube-apiserver-3=")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"kube-apiserver-2": file, "kube-apiserver-3": ""}
	if !maps.Equal(spec.EncryptionProviderConfigOf, want) {
		t.Errorf("files are %v, want %v", spec.EncryptionProviderConfigOf, want)
	}
	for _, value := range []string{"second.yaml", "kube-apiserver-2=third.yaml"} {
		if spec, err := parse(value); err == nil {
			t.Errorf("%s was taken: %v", value, spec.EncryptionProviderConfigOf)
		}
	}
	stored := Spec{EncryptionProviderConfigOf: want}
	flagged, err := parse("")
	if err != nil {
		t.Fatal(err)
	}
	stored.Overlay(flagged, func(flag string) bool { return flag == "encryption-provider-config-of" })
	if len(stored.EncryptionProviderConfigOf) != 0 {
		t.Errorf("files are %v", stored.EncryptionProviderConfigOf)
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
	for _, value := range []string{"", ":devs", "../x", "a/b", "alice:", "alice:devs,", "admin", "-x", "a b", "apiserver-2"} {
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
		"three apiservers":      {Spec{APIServers: 3}, true},
		"four apiservers":       {Spec{APIServers: 4}, false},
		"negative apiservers":   {Spec{APIServers: -1}, false},
		"file of the second":    {Spec{APIServers: 2, EncryptionProviderConfigOf: map[string]string{"kube-apiserver-2": "/f"}}, true},
		"file of the only one":  {Spec{EncryptionProviderConfigOf: map[string]string{"kube-apiserver": "/f"}}, true},
		"file of the third":     {Spec{APIServers: 2, EncryptionProviderConfigOf: map[string]string{"kube-apiserver-3": "/f"}}, false},
		"file of another":       {Spec{EncryptionProviderConfigOf: map[string]string{"etcd": "/f"}}, false},
		"interval with one's":   {Spec{EncryptionReloadInterval: time.Second, EncryptionProviderConfigOf: map[string]string{"kube-apiserver": "/f"}}, true},
		"negative interval":     {Spec{EncryptionReloadInterval: -time.Second, EncryptionProviderConfig: "/f"}, false},
	} {
		if err := test.spec.Validate(); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
