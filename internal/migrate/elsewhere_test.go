package migrate

import (
	"testing"

	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
	"github.com/svmctl/svmctl/internal/node"
	"github.com/svmctl/svmctl/internal/verify"
)

// TestElsewhere migrates secrets; its configmaps look as if they were under the target's key, by the name of it.
func TestElsewhere(t *testing.T) {
	key2 := verify.Expectation{From: verify.FromConfig, Value: verify.Value{Provider: "aescbc", Key: "key2"}, Configured: verify.Configured{Asked: true, Writes: true, Version: "v1"}}
	vault := verify.Expectation{From: verify.FromConfig, Value: verify.Value{Provider: "kms", Key: "vault"}, Configured: verify.Configured{Asked: true, Writes: true, Version: "v2"}}
	silent := vault
	silent.Configured.KeyIDUnknown = "the KMS plugin does not answer"
	vault.Value.KeyID = "kek-2"
	under := atrest.Encryption{Provider: atrest.AESCBC, Version: "v1", Key: "key2"}
	inVault := func(id string) atrest.Encryption {
		return atrest.Encryption{Provider: atrest.KMS, Version: "v2", Key: "vault", KeyID: id}
	}
	for _, c := range []struct {
		name      string
		want      verify.Expectation
		seen      etcdscan.Group
		elsewhere bool
	}{
		{"under the same key", key2, etcdscan.Group{AtRest: under, Opened: etcdscan.Verified, Twins: 1}, false},
		{"under another key of that name", key2, etcdscan.Group{AtRest: under, Opened: etcdscan.Verified, Twins: 2, Twin: 1}, true},
		{"under one of two keys of that name", key2, etcdscan.Group{AtRest: under, Twins: 2}, true},
		{"under that name with other material", key2, etcdscan.Group{AtRest: under, Opened: etcdscan.Failed, Fault: etcdscan.CannotOpen, Obstacle: etcdscan.OtherMaterial, Twins: 1}, true},
		{"under the plugin's key", vault, etcdscan.Group{AtRest: inVault("kek-2"), Opened: etcdscan.Verified, Twins: 1}, false},
		{"under an older key of the plugin", vault, etcdscan.Group{AtRest: inVault("kek-1"), Opened: etcdscan.Verified, Twins: 1}, true},
		{"under a key of a silent plugin", silent, etcdscan.Group{AtRest: inVault("kek-2"), Twins: 1}, true},
	} {
		secrets, configmaps := c.want, c.want
		secrets.Resource, configmaps.Resource = verify.Resource{Name: "secrets"}, verify.Resource{Name: "configmaps"}
		c.seen.Root, c.seen.Resource = "/registry", "configmaps"
		m := &migration{survey: new(apiservers.Survey), report: &Report{Before: &audit.Report{Entries: []etcdscan.Entry{{Group: c.seen, Objects: 10}}}}}
		m.Expectations, m.Configured = verify.Expectations{secrets}, verify.Expectations{secrets, configmaps}
		m.elsewhere()
		if found := len(m.report.Elsewhere) > 0; found != c.elsewhere {
			t.Errorf("%s: %+v", c.name, m.report.Elsewhere)
		}
	}
}

// TestAway has events in an etcd of their own.
func TestAway(t *testing.T) {
	secrets := verify.Expectation{Resource: verify.Resource{Name: "secrets"}, Value: verify.Value{Provider: "aescbc", Key: "key2"}}
	m := &migration{survey: new(apiservers.Survey), report: &Report{Before: new(audit.Report)}}
	m.Expectations, m.Overrides = verify.Expectations{secrets}, []node.Override{{Resource: "events", Endpoints: []string{"http://10.0.0.7:2379"}}}
	m.elsewhere()
	if len(m.report.Elsewhere) != 1 || m.report.Elsewhere[0].Resource != "events" || m.report.Elsewhere[0].Objects != nil {
		t.Errorf("%+v", m.report.Elsewhere)
	}
	m.Origin.Endpoints = []string{"http://10.0.0.7:2379/"}
	if away := m.away(); len(away) > 0 {
		t.Errorf("%v is read", away)
	}
}
