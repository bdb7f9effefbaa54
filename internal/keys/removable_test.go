package keys

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/etcdscan/stored"
	"github.com/svmctl/svmctl/internal/node"
	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/expect"
)

var (
	key1  = encryption.Key{Provider: atrest.AESCBC, Version: "v1", Name: "key1"}
	key2  = encryption.Key{Provider: atrest.AESCBC, Version: "v1", Name: "key2"}
	twin  = encryption.Key{Provider: atrest.AESCBC, Version: "v1", Name: "key1", Twin: 1}
	short = encryption.Key{Provider: atrest.AESCBC, Version: "v1", Name: "a"}
	long  = encryption.Key{Provider: atrest.AESCBC, Version: "v1", Name: "a:b"}
	vault = encryption.Key{Provider: atrest.KMS, Version: "v2", Name: "vault"}

	secrets    = encryption.Pattern{Resource: "secrets"}
	configmaps = encryption.Pattern{Resource: "configmaps"}
	events     = encryption.Pattern{Resource: "events"}
)

// file has one rule for secrets; its first key writes.
func file(keys ...encryption.Key) *encryption.Configuration {
	c := &encryption.Configuration{Keys: keys, Hash: "sha256:00"}
	rule := encryption.Rule{Patterns: []encryption.Pattern{secrets}}
	for i := range keys {
		rule.Keys = append(rule.Keys, i)
	}
	c.Rules = []encryption.Rule{rule}
	return c
}

func with(c *encryption.Configuration, p encryption.Pattern, keys ...int) *encryption.Configuration {
	c.Rules = append(c.Rules, encryption.Rule{Patterns: []encryption.Pattern{p}, Keys: keys})
	return c
}

// under is n objects that were opened with a key; under KMS with a key ID.
func under(resource string, n int64, k encryption.Key, keyID ...string) etcdscan.Entry {
	e := etcdscan.Entry{Objects: n, Group: etcdscan.Group{Root: "/registry", Resource: resource, AtRest: k.AtRest(), Twin: k.Twin,
		Opened: etcdscan.Verified, Stored: stored.Type{APIVersion: "v1", Kind: "Thing", Encoding: stored.JSON}}}
	for _, id := range keyID {
		e.AtRest.KeyID = id
	}
	return e
}

// beside is plaintext in the directory of a resource that names no object.
func beside(resource string, n int64) etcdscan.Entry {
	e := under("", n, encryption.Identity)
	e.Beside, e.Note = resource, "key of no known resource"
	return e
}

// shut is an entry that was not opened.
func shut(e etcdscan.Entry, o etcdscan.Obstacle) etcdscan.Entry {
	e.Stored, e.Opened, e.Twin = stored.Type{}, etcdscan.NotTried, 0
	if o != etcdscan.NoObstacle {
		e.Opened, e.Fault, e.Obstacle = etcdscan.Failed, etcdscan.CannotOpen, o
	}
	return e
}

// events7 is an etcd at 10.0.0.7 that was named for events.
func events7(cluster uint64, objects int64) further {
	f := further{objects: objects, pin: etcdscan.Pin{ClusterID: cluster}}
	f.Resources, f.Origin.Endpoints = []verify.Resource{{Name: "events"}}, []string{"https://10.0.0.7:2379"}
	return f
}

// TestCanRemove has for each answer a case in which looking at live prefixes alone would say yes.
func TestCanRemove(t *testing.T) {
	for _, c := range []struct {
		name    string
		config  *encryption.Configuration
		current map[string]expect.CurrentKey
		entries []etcdscan.Entry
		change  func(*look)
		key     string
		want    Answer
		reason  string
	}{
		{name: "nothing is under it", config: file(key2, key1), entries: []etcdscan.Entry{under("secrets", 5, key2)}, key: "aescbc:key1", want: Yes},
		{name: "one object of another resource is", config: with(file(key2, key1), configmaps, 0, 1), entries: []etcdscan.Entry{under("secrets", 5, key2), under("configmaps", 1, key1)}, key: "aescbc:key1", want: No, reason: "1 configmaps"},
		{name: "an object of a resource that no rule covers is", config: file(key2, key1), entries: []etcdscan.Entry{shut(under("pods", 1, key1), etcdscan.OtherResource)}, key: "aescbc:key1", want: No, reason: "1 pods"},
		{name: "a key that names no object is", config: file(key2, key1), entries: []etcdscan.Entry{under("secrets", 1, key2), shut(under("", 1, key1), "")}, key: "aescbc:key1", want: No},
		{name: "it writes another resource, of which there is none yet", config: with(file(key2, key1), configmaps, 1), entries: []etcdscan.Entry{under("secrets", 5, key2)}, key: "aescbc:key1", want: No, reason: "writes configmaps"},
		{name: "there is no file", entries: []etcdscan.Entry{under("secrets", 5, key2), shut(under("secrets", 1, key1), "")}, key: "aescbc:key2", want: No},
		{name: "values were not opened", config: file(key2, key1), entries: []etcdscan.Entry{shut(under("secrets", 5, key2), "")}, key: "aescbc:key1", want: Unknown, reason: "5 values are not open: nobody tried"},
		{name: "values cannot be opened", config: file(key2, key1), entries: []etcdscan.Entry{shut(under("secrets", 5, key2), etcdscan.OtherMaterial)}, key: "aescbc:key1", want: Unknown},
		{name: "values of a key that is lost need no other", config: file(key2, key1), entries: []etcdscan.Entry{shut(under("secrets", 5, encryption.Key{Provider: atrest.AESCBC, Version: "v1", Name: "lost"}), etcdscan.NoSuchKey)}, key: "aescbc:key1", want: Yes},
		{name: "an apiserver uses another file", config: file(key2, key1), entries: []etcdscan.Entry{under("secrets", 5, key2)}, change: func(l *look) { l.object("10.0.0.1 lags") }, key: "aescbc:key1", want: No, reason: "10.0.0.1 lags"},
		{name: "an apiserver could not be asked", config: file(key2, key1), entries: []etcdscan.Entry{under("secrets", 5, key2)}, change: func(l *look) { l.doubt("metrics: 403") }, key: "aescbc:key1", want: Unknown, reason: "metrics: 403"},
		{name: "a covered resource lives elsewhere", config: with(file(key2, key1), events, 0, 1), entries: []etcdscan.Entry{under("secrets", 5, key2)}, change: func(l *look) { l.Overrides = []node.Override{{Resource: "events"}} }, key: "aescbc:key1", want: Unknown, reason: "events live in another etcd"},
		{name: "and was read there", config: with(file(key2, key1), events, 0, 1), entries: []etcdscan.Entry{under("secrets", 5, key2), under("events", 5, key2)}, change: func(l *look) {
			l.Overrides, l.further = []node.Override{{Resource: "events", Endpoints: []string{"https://10.0.0.7:2379"}}}, []further{events7(2, 5)}
		}, key: "aescbc:key1", want: Yes},
		{name: "and was read at another address", config: with(file(key2, key1), events, 0, 1), entries: []etcdscan.Entry{under("secrets", 5, key2), under("events", 5, key2)}, change: func(l *look) {
			l.Overrides, l.further = []node.Override{{Resource: "events", Endpoints: []string{"https://10.0.0.8:2379"}}}, []further{events7(2, 5)}
		}, key: "aescbc:key1", want: Unknown, reason: "not shown to be the apiserver's"},
		{name: "which the apiserver's list has shown to be it", config: with(file(key2, key1), events, 0, 1), entries: []etcdscan.Entry{under("secrets", 5, key2), under("events", 5, key2)}, change: func(l *look) {
			f := events7(2, 5)
			f.shown = true
			l.Overrides, l.further = []node.Override{{Resource: "events", Endpoints: []string{"https://10.0.0.8:2379"}}}, []further{f}
		}, key: "aescbc:key1", want: Yes},
		{name: "and the main etcd was named for it", config: with(file(key2, key1), events, 0, 1), entries: []etcdscan.Entry{under("secrets", 5, key2), under("events", 5, key2)}, change: func(l *look) {
			l.Overrides, l.further = []node.Override{{Resource: "events", Endpoints: []string{"https://10.0.0.7:2379"}}}, []further{events7(1, 5)}
		}, key: "aescbc:key1", want: Unknown, reason: "is the one that was read anyway"},
		{name: "and an empty etcd was named for it", config: with(file(key2, key1), events, 0, 1), entries: []etcdscan.Entry{under("secrets", 5, key2)}, change: func(l *look) {
			l.Overrides, l.further = []node.Override{{Resource: "events", Endpoints: []string{"https://10.0.0.7:2379"}}}, []further{events7(2, 0)}
		}, key: "aescbc:key1", want: Unknown, reason: "holds none"},
		{name: "and in a third one, of another apiserver", config: with(file(key2, key1), events, 0, 1), entries: []etcdscan.Entry{under("secrets", 5, key2), under("events", 5, key2)}, change: func(l *look) {
			f := events7(2, 5)
			f.shown = true
			l.Overrides, l.further = []node.Override{{Resource: "events", Endpoints: []string{"https://10.0.0.7:2379"}}, {Resource: "events", Endpoints: []string{"https://10.0.0.8:2379"}}}, []further{f}
		}, key: "aescbc:key1", want: Unknown, reason: "10.0.0.8"},
		{name: "each of which was read", config: with(file(key2, key1), events, 0, 1), entries: []etcdscan.Entry{under("secrets", 5, key2), under("events", 5, key2)}, change: func(l *look) {
			f, g := events7(2, 5), events7(3, 5)
			g.Origin.Endpoints = []string{"https://10.0.0.8:2379"}
			l.Overrides, l.further = []node.Override{{Resource: "events", Endpoints: f.Origin.Endpoints}, {Resource: "events", Endpoints: g.Origin.Endpoints}}, []further{f, g}
		}, key: "aescbc:key1", want: Yes},
		{name: "a resource of no concern lives elsewhere", config: file(key2, key1), entries: []etcdscan.Entry{under("secrets", 5, key2)}, change: func(l *look) { l.Overrides = []node.Override{{Resource: "events"}} }, key: "aescbc:key1", want: Yes},
		{name: "where resources live is not known", config: file(key2, key1), entries: []etcdscan.Entry{under("secrets", 5, key2)}, change: func(l *look) { l.OverridesTold = false }, key: "aescbc:key1", want: Unknown, reason: "--etcd-servers-overrides"},

		{name: "the other of two keys of one name is in use", config: file(key2, key1, twin), entries: []etcdscan.Entry{under("secrets", 5, twin)}, key: "aescbc:key1", want: No, reason: "5 secrets"},
		{name: "a longer name in use, and opened", config: file(key2, long, short), entries: []etcdscan.Entry{under("secrets", 5, long)}, key: "aescbc:a", want: Yes},
		{name: "a longer name in use, and not opened", config: file(key2, long, short), entries: []etcdscan.Entry{shut(under("secrets", 5, long), "")}, key: "aescbc:a", want: Unknown, reason: "5 values may be under it"},

		{name: "plaintext is left", config: file(key2, encryption.Identity), entries: []etcdscan.Entry{under("secrets", 5, key2), under("secrets", 1, encryption.Identity)}, key: "identity", want: No, reason: "1 secrets"},
		{name: "plaintext among them that names no object", config: file(key2, encryption.Identity), entries: []etcdscan.Entry{under("secrets", 5, key2), beside("secrets", 1)}, key: "identity", want: No, reason: "1 (key of no known resource)"},
		{name: "plaintext among others that names no object", config: file(key2, encryption.Identity), entries: []etcdscan.Entry{under("secrets", 5, key2), beside("pods", 1)}, key: "identity", want: Yes},
		{name: "plaintext of what no rule covers", config: file(key2, encryption.Identity), entries: []etcdscan.Entry{under("secrets", 5, key2), under("pods", 9, encryption.Identity)}, key: "identity", want: Yes},

		{name: "the plugin's own key", config: file(vault), current: map[string]expect.CurrentKey{"vault": {KeyID: "kek-2"}}, entries: []etcdscan.Entry{under("secrets", 5, vault, "kek-2")}, key: "kms:vault:kek-2", want: No},
		{name: "an older key of the plugin, still in use", config: file(vault), current: map[string]expect.CurrentKey{"vault": {KeyID: "kek-2"}}, entries: []etcdscan.Entry{under("secrets", 5, vault, "kek-2"), under("secrets", 1, vault, "kek-1")}, key: "kms:vault:kek-1", want: No, reason: "1 secrets"},
		{name: "an older key of the plugin, no longer in use", config: file(vault), current: map[string]expect.CurrentKey{"vault": {KeyID: "kek-2"}}, entries: []etcdscan.Entry{under("secrets", 5, vault, "kek-2")}, change: func(l *look) {
			l.met = map[string][]string{"vault": {encryption.KeyIDHash("kek-1")}}
		}, key: "kms:vault:kek-1", want: Yes},
		{name: "a key ID that nobody knows", config: file(vault), current: map[string]expect.CurrentKey{"vault": {KeyID: "kek-2"}}, entries: []etcdscan.Entry{under("secrets", 5, vault, "kek-2")}, key: "kms:vault:kek-l", want: Unknown, reason: "spelled"},
		{name: "an older key of a plugin that does not answer", config: file(vault), current: map[string]expect.CurrentKey{"vault": {Unknown: "the KMS plugin does not answer"}}, entries: []etcdscan.Entry{under("secrets", 5, vault, "kek-2")}, change: func(l *look) {
			l.met = map[string][]string{"vault": {encryption.KeyIDHash("kek-1")}}
		}, key: "kms:vault:kek-1", want: Unknown, reason: "does not answer"},
		{name: "the provider, of which one key is in use", config: file(key2, vault), current: map[string]expect.CurrentKey{"vault": {KeyID: "kek-2"}}, entries: []etcdscan.Entry{under("secrets", 1, vault, "kek-1"), under("secrets", 4, key2)}, key: "kms:vault", want: No},
		{name: "the provider, of which none is", config: file(key2, vault), current: map[string]expect.CurrentKey{"vault": {KeyID: "kek-2"}}, entries: []etcdscan.Entry{under("secrets", 4, key2)}, key: "kms:vault", want: Yes},
		{name: "a plugin that does not answer", config: file(key2, vault), current: map[string]expect.CurrentKey{"vault": {Unknown: "the KMS plugin does not answer"}}, entries: []etcdscan.Entry{under("secrets", 4, key2)}, key: "kms:vault", want: Unknown, reason: "does not answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wanted, err := ParseWanted(c.key)
			if err != nil {
				t.Fatal(err)
			}
			l := &look{Request: Request{Config: c.config, Current: c.current, CanRemove: wanted, OverridesTold: true}, report: new(Report), entries: c.entries, roots: []string{"/registry"}, pin: etcdscan.Pin{ClusterID: 1}}
			if c.change != nil {
				c.change(l)
			}
			if c.config == nil {
				l.doubt("no file")
			}
			l.opened()
			l.placeResources(nil)
			l.makeRows()
			if err := l.judge(); err != nil {
				t.Fatal(err)
			}
			a := l.report.CanRemove
			if a.Answer != c.want || !strings.Contains(a.Reason, c.reason) || (a.Answer == Yes) != (len(a.After) > 0) {
				t.Errorf("%+v, want %s because of %q", a, c.want, c.reason)
			}
			for _, r := range l.rows {
				if r.Removable == Yes && r.Destroyable != Unknown || r.Removable != Yes && r.Destroyable != r.Removable {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

func TestUnknownKey(t *testing.T) {
	l := &look{Request: Request{Config: file(key2, key1), CanRemove: &Wanted{}, OverridesTold: true}, report: new(Report)}
	l.CanRemove.Provider, l.CanRemove.Key = "aescbc", "key11"
	l.makeRows()
	err := l.judge()
	var unknown *UnknownKeyError
	if !errors.As(err, &unknown) || !slices.Equal(unknown.Have, []string{"aescbc:key1", "aescbc:key2"}) {
		t.Errorf("%v", err)
	}
}

func TestThreeLiveKeys(t *testing.T) {
	key3 := encryption.Key{Provider: atrest.AESCBC, Version: "v1", Name: "key3"}
	for _, c := range []struct {
		name    string
		config  *encryption.Configuration
		entries []etcdscan.Entry
		warned  bool
	}{
		{"three with objects", file(key3, key2, key1), []etcdscan.Entry{under("secrets", 1, key1), under("secrets", 1, key2), under("secrets", 1, key3)}, true},
		{"two with objects, and the third writes", file(key3, key2, key1), []etcdscan.Entry{under("secrets", 1, key1), under("secrets", 1, key2)}, true},
		{"two", file(key2, key1), []etcdscan.Entry{under("secrets", 1, key1), under("secrets", 1, key2)}, false},
		{"each resource its own", with(with(file(key1), configmaps, 0), events, 0), []etcdscan.Entry{under("secrets", 1, key1), under("configmaps", 1, key2), under("events", 1, key3)}, false},
		{"without a file", nil, []etcdscan.Entry{shut(under("secrets", 1, key1), ""), shut(under("secrets", 1, key2), ""), shut(under("secrets", 1, key3), "")}, true},
		{"key IDs of a plugin", file(vault), []etcdscan.Entry{under("secrets", 1, vault, "kek-1"), under("secrets", 1, vault, "kek-2"), under("secrets", 1, vault, "kek-3")}, true},
	} {
		l := &look{Request: Request{Config: c.config}, report: new(Report), entries: c.entries}
		l.makeRows()
		l.warnOfThree()
		if warned := len(l.report.Warnings) > 0; warned != c.warned {
			t.Errorf("%s: %q", c.name, l.report.Warnings)
		}
	}
}

func TestParseWanted(t *testing.T) {
	for _, text := range []string{"", "aescbc", "aescbc:", "encrypted", "kms", "des:key1", "kms:vault:"} {
		if w, err := ParseWanted(text); err == nil {
			t.Errorf("%q is taken for %+v", text, w)
		}
	}
	for _, text := range []string{"aescbc:key1", "aescbc:aescbckey-2022-04-21T23:01:02-07:00", "kms:vault", "kms:vault:arn:aws:kms", "identity"} {
		if w, err := ParseWanted(text); err != nil || w.String() != text {
			t.Errorf("%q: %+v, %v", text, w, err)
		}
	}
}

// TestWait lets writes arrive, and ends with the context.
func TestWait(t *testing.T) {
	var told time.Duration
	l := &look{Request: Request{Waiting: func(d time.Duration) { told = d }}}
	started := time.Now()
	if err := l.await(t.Context(), 50*time.Millisecond); err != nil || time.Since(started) < 50*time.Millisecond || told != 50*time.Millisecond {
		t.Errorf("%v after %s, told %s", err, time.Since(started), told)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.await(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
