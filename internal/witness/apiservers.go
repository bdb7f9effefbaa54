package witness

import (
	"context"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/verify/evidence"
)

// APIServers asks every apiserver what it has loaded, and whether that is what the question wants: the EncryptionConfiguration at hand, and
// the keys of its KMS plugins.
func APIServers(ctx context.Context, req apiservers.Request, q apiservers.Question) *evidence.APIServers {
	req.Flags = true
	if req.Resources == nil {
		req.Resources = []schema.GroupResource{}
	}
	return FromSurvey(apiservers.Ask(ctx, req), q)
}

// FromSurvey is what apiservers that were asked already, their flags too, say to the question.
func FromSurvey(survey *apiservers.Survey, q apiservers.Question) *evidence.APIServers {
	q.Matter = apiservers.Encryption
	agreement := survey.Agreement(q)
	found := &evidence.APIServers{
		APIVersion: evidence.APIVersion, Kind: "EvidenceAPIServers", Asked: true, Expected: q.EncryptionConfig,
		Known: agreement.Known, Counted: agreement.Counted, Answered: agreement.Asked, Agree: agreement.Agree, Disagreements: []string{},
		Missing: append([]string{}, agreement.Missing...), Gone: append([]string{}, agreement.Gone...), Unchecked: append([]string{}, agreement.Unchecked...), Servers: []evidence.APIServer{},
	}
	for _, d := range agreement.Disagreements {
		found.Disagreements = append(found.Disagreements, d.String())
	}
	found.OverridesKnown = agreement.Counted && agreement.Asked > 0 && agreement.Asked >= agreement.Known && len(agreement.Missing) == 0
	for _, s := range survey.Each() {
		found.Servers = append(found.Servers, serverOf(s))
		if s.Answered && s.Flags == nil {
			found.OverridesKnown = false
		}
	}
	return found
}

func serverOf(s apiservers.Server) evidence.APIServer {
	e := evidence.APIServer{
		Address: s.Address, Identity: s.Identity, Hostname: s.Hostname, IDHash: s.ID, Version: s.Version, Answered: s.Answered, Problem: s.Problem,
		MetricsRead: s.MetricsRead, MetricsProblem: s.MetricsProblem, EncryptionConfig: s.EncryptionConfig, KMSKeyIDs: map[string]string{},
		StartedAt: s.StartedAt().UTC(), LoadedAt: s.LoadedAt().UTC(), Overrides: []string{}, Flags: map[string]string{}, FlagsProblem: s.FlagsProblem,
		Writes: []evidence.Operations{}, Reads: []evidence.Operations{},
	}
	if _, problem := s.Encryption(); s.MetricsRead && problem != "" {
		e.MetricsProblem = "EncryptionConfiguration: " + problem
	}
	maps.Copy(e.KMSKeyIDs, s.KMSKeyIDs)
	if s.Flags != nil {
		e.EtcdPrefix = s.Flags.Prefix
		maps.Copy(e.Flags, s.Flags.Raw)
		for _, o := range s.Flags.Overrides {
			e.Overrides = append(e.Overrides, o.Resource+"="+strings.Join(o.Endpoints, ","))
		}
		slices.Sort(e.Overrides)
	}
	for _, t := range s.Transformations {
		o := evidence.Operations{Resource: t.Resource, Prefix: t.Prefix, Status: t.Status, Count: t.Count}
		if t.Write {
			e.Writes = append(e.Writes, o)
		} else {
			e.Reads = append(e.Reads, o)
		}
	}
	return e
}
