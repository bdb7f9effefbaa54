package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/internal/apiservers"
	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/residue"
	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/evidence"
	"github.com/svmctl/svmctl/internal/verify/evidence/oscal"
	"github.com/svmctl/svmctl/internal/verify/evidence/page"
	"github.com/svmctl/svmctl/internal/verify/evidence/pipeline"
	"github.com/svmctl/svmctl/internal/witness"
)

// evidenceFlags say whether a bundle is to be made of what a command saw, and what is to be in it.
type evidenceFlags struct {
	dir, label, redact, redactionKey, exceptions, signKey, previous string
	reconcile, oscal, junit, prom, csv                              bool
	residue                                                         []string
	set                                                             *pflag.FlagSet
	env                                                             func(string) (string, bool)
	bundle                                                          evidence.Options
	redactor                                                        *evidence.Redactor
	approved                                                        *evidence.Exceptions
	clock                                                           func() time.Time
	clockName                                                       string
	earlier                                                         []evidence.APIServer // before anything was done
	validFor                                                        time.Duration
	earlierAt                                                       time.Time
}

func addEvidenceFlags(set *pflag.FlagSet, env func(string) (string, bool)) *evidenceFlags {
	f := &evidenceFlags{set: set, env: env, clock: time.Now, clockName: "local"}
	set.StringVar(&f.dir, "evidence", "", "write an evidence bundle to a new `directory`: docs/evidence.md")
	set.StringVar(&f.label, "cluster-label", "", "your own `name` for this cluster, for the bundle")
	set.BoolVar(&f.reconcile, "reconcile-api", false, "for the bundle, have the API list the metadata of all resources at the very revision, and compare them with etcd's keys; takes the verb list")
	set.StringVar(&f.redact, "redact", string(evidence.Names), "how the bundle shows the names of objects: names, hmac (a keyed hash) or counts (no records)")
	set.StringVar(&f.redactionKey, "redaction-key", "", "`file` with the key of that hash, 32 bytes or more: keep it as long as the bundle")
	set.StringVar(&f.exceptions, "exceptions", "", "YAML `file` of approved deviations, each with an approver and an expiry")
	set.StringVar(&f.signKey, "sign-key", "", "PEM `file` with a private key (PKCS #8, ECDSA P-256 or Ed25519) to sign the bundle with")
	set.DurationVar(&f.validFor, "valid-for", 0, "say in the bundle for how long it stands until another one is due, such as 2160h (default: nothing is said)")
	set.StringVar(&f.previous, "previous", "", "`directory` of the bundle before this one, or none (default: the newest of this cluster beside the new one)")
	set.StringArrayVar(&f.residue, "residue", nil, "for the bundle, look through a `file` of etcd's as well, or a copied data directory, for what is left of old keys and plaintext; repeatable")
	set.BoolVar(&f.csv, "csv", false, "add the records as CSV, for sampling in a spreadsheet")
	set.BoolVar(&f.oscal, "oscal", false, "add OSCAL assessment results 1.1.3")
	set.BoolVar(&f.junit, "junit", false, "add the claims as JUnit test cases, for pipelines")
	set.BoolVar(&f.prom, "prom", false, "add metrics for the textfile collector of node_exporter")
	return f
}

// asked tells whether a bundle is wanted.
func (f *evidenceFlags) asked() bool { return f.dir != "" }

// recorder takes what a scan yields, where a bundle is wanted; else it takes nothing.
func (f *evidenceFlags) recorder() *evidence.Recorder {
	if !f.asked() {
		return nil
	}
	return new(evidence.Recorder)
}

// sourceDateEpoch stands in for the clock where a bundle of a file is to be the same again, and nowhere else: some shells set it. https://reproducible-builds.org/specs/source-date-epoch/
const sourceDateEpoch = "SOURCE_DATE_EPOCH"

// prepare reads all that a bundle needs before anything else is done: nothing is worse than a long migration without its evidence.
func (f *evidenceFlags) prepare(file bool) error {
	if !f.asked() {
		for _, name := range []string{"cluster-label", "reconcile-api", "redact", "redaction-key", "exceptions", "sign-key", "previous", "valid-for", "residue", "csv", "oscal", "junit", "prom"} {
			if f.set.Changed(name) {
				return usageError(fmt.Errorf("--%s is about a bundle: it goes with --evidence", name))
			}
		}
		return nil
	}
	if err := evidence.Vacant(f.dir); err != nil {
		return &exitError{code: exitFailed, err: fmt.Errorf("--evidence %w", err), hints: []string{"name a directory that is not there yet, below one that is"}}
	}
	var key []byte
	var err error
	if f.redactionKey != "" {
		if key, err = os.ReadFile(f.redactionKey); err != nil {
			return fmt.Errorf("reading --redaction-key: %w", err)
		}
	}
	if f.redactor, err = evidence.NewRedactor(evidence.Mode(f.redact), key); err != nil {
		return usageError(fmt.Errorf("--redact %w", err), "head -c 32 /dev/urandom | base64 > redaction.key, then --redaction-key redaction.key")
	}
	if f.exceptions != "" {
		text, err := os.ReadFile(f.exceptions)
		if err != nil {
			return fmt.Errorf("reading --exceptions: %w", err)
		}
		if f.approved, err = evidence.ParseExceptions(text); err != nil {
			return &exitError{code: exitFailed, err: fmt.Errorf("--exceptions %s: %w", f.exceptions, err), hints: []string{"docs/evidence-format.md shows such a file"}}
		}
	}
	if f.signKey != "" {
		text, err := os.ReadFile(f.signKey)
		if err != nil {
			return fmt.Errorf("reading --sign-key: %w", err)
		}
		if f.bundle.Signer, err = evidence.ParseSigningKey(text); err != nil {
			return &exitError{code: exitFailed, err: fmt.Errorf("--sign-key %s: %w", f.signKey, err),
				hints: []string{"openssl genpkey -algorithm ed25519 -out signing.key makes one; a key of cosign or of a KMS signs the finished bundle: its VERIFY.md shows how"}}
		}
	}
	if f.previous != "" && f.previous != "none" && !evidence.IsBundle(f.previous) {
		return &exitError{code: exitFailed, err: fmt.Errorf("--previous %s: %w", f.previous, evidence.ErrNoBundle)}
	}
	if text, ok := f.env(sourceDateEpoch); ok && text != "" && file {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seconds < 0 {
			return usageError(fmt.Errorf("%s=%q is no number of seconds", sourceDateEpoch, text))
		}
		f.clock, f.clockName = func() time.Time { return time.Unix(seconds, 0).UTC() }, sourceDateEpoch
	}
	f.bundle.CSV = f.csv
	f.bundle.Renderings = []evidence.Rendering{{Name: evidence.HTMLFile, Write: page.HTML}, {Name: evidence.MarkdownFile, Write: page.Markdown}}
	for _, extra := range []struct {
		wanted bool
		evidence.Rendering
	}{{f.oscal, evidence.Rendering{Name: evidence.OSCALFile, Write: oscal.Write}}, {f.junit, evidence.Rendering{Name: evidence.JUnitFile, Write: pipeline.JUnit}},
		{f.prom, evidence.Rendering{Name: evidence.PrometheusFile, Write: pipeline.Prometheus}}} {
		if extra.wanted {
			f.bundle.Renderings = append(f.bundle.Renderings, extra.Rendering)
		}
	}
	return nil
}

// scene is where and with what a command looked.
type scene struct {
	src       *source
	etcd      *etcdFlags
	kube      *kubeFlags
	unlocked  *unlocked
	servers   []string // addresses of apiservers that were given
	overrides []string
	args      []string
}

// collect makes the bundle of what was seen.
func (f *evidenceFlags) collect(ctx context.Context, at scene, o *evidence.Observed) (*evidence.Document, error) {
	o.Redactor, o.Exceptions, o.Clock, o.Today = f.redactor, f.approved, f.clockName, time.Now()
	o.Tool, o.Overrides, o.Config = tool(at.args), at.overrides, at.unlocked.config()
	o.Actor = actor(f.env)
	o.Actor.EtcdUser, o.Actor.EtcdClientCert = at.etcd.config.User, clientCert(at.etcd)
	o.Cluster.Label = f.label
	if at.src.kept() {
		o.Cluster.EtcdClusterID = ""
		o.APIServers = unasked("a file was read, which tells nothing of them")
		o.NotReconciled = "a file was read, and the API knows nothing of that day"
		o.LaterUnknown = "a file was read"
		o.Actor.EtcdUser, o.Actor.EtcdClientCert = "", nil
	} else {
		f.askEtcd(ctx, at, o)
		if err := f.askAPI(ctx, at, o); err != nil {
			return nil, err
		}
	}
	if err := f.lookThrough(ctx, at, o); err != nil {
		return nil, err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	o.FinishedAt = f.clock().UTC()
	if f.validFor > 0 {
		o.ValidUntil = o.FinishedAt.Add(f.validFor)
	}
	previous, err := f.before(o)
	if err != nil {
		return nil, err
	}
	o.Previous = previous
	return evidence.Write(f.dir, o, f.bundle)
}

// lookThrough looks through the files of etcd's that were given.
func (f *evidenceFlags) lookThrough(ctx context.Context, at scene, o *evidence.Observed) error {
	if len(f.residue) == 0 {
		return nil
	}
	report, err := residue.Run(ctx, residue.Request{Paths: f.residue, Config: at.unlocked.config(), Encryption: at.unlocked.named(), Version: version, Now: f.clock})
	if err != nil {
		return fmt.Errorf("looking through --residue: %w", err)
	}
	o.Residue, o.Residuals = report, &evidence.Residuals{Left: []string{}, Untold: append([]string{}, report.Warnings...)}
	places := make(map[string]bool)
	for _, file := range report.Files {
		switch file.Kind {
		case residue.Snapshot, residue.Database:
			places["older revisions"], places["free pages"] = true, true
		case residue.Log, residue.RaftSnapshot:
			places[evidence.WALPlace] = true
		}
		name := file.Path
		if file.SHA256 != "" {
			name += " (SHA-256 " + file.SHA256[:12] + "…)"
		}
		o.Residuals.Files = append(o.Residuals.Files, name)
		if file.Problem != "" {
			o.Residuals.Untold = append(o.Residuals.Untold, file.Path+": "+file.Problem)
		}
	}
	o.Residuals.Places = slices.Sorted(maps.Keys(places))
	for _, step := range report.Steps {
		o.Residuals.Left = append(o.Residuals.Left, fmt.Sprintf("%d values are left behind in %s (%s)", step.Values, step.Path, step.Place))
	}
	for _, c := range report.Counts {
		o.KeyIDs = append(o.KeyIDs, c.KeyID)
	}
	if report.Unread() && len(o.Residuals.Untold) == 0 {
		o.Residuals.Untold = append(o.Residuals.Untold, "not everything could be looked through, or be judged")
	}
	return nil
}

// askEarly asks the apiservers what they have written before a migration begins, so that what they write meanwhile can be told.
func (f *evidenceFlags) askEarly(ctx context.Context, cfg *rest.Config, addresses []string, u *unlocked) {
	if f.asked() {
		f.earlier = witness.APIServers(ctx, apiservers.Request{Config: cfg, Addresses: addresses}, question(u)).Servers
		f.earlierAt = f.clock().UTC()
	}
}

// askEtcd asks etcd for its members, and for what was written since it was read.
func (f *evidenceFlags) askEtcd(ctx context.Context, at scene, o *evidence.Observed) {
	o.Cluster.EtcdClusterID = o.Report.Source.ClusterID
	members, err := at.src.live.Members(ctx)
	switch {
	case err != nil:
		o.Cluster.Unknown = append(o.Cluster.Unknown, "the members of etcd did not become known")
	case at.src.live.Kine():
		o.Cluster.Unknown = append(o.Cluster.Unknown, "the store is kine, which has no members and no cluster ID")
	}
	for _, m := range members {
		o.Cluster.EtcdMembers = append(o.Cluster.EtcdMembers, evidence.Member{ID: m.ID, Name: m.Name, ClientURLs: append([]string{}, m.ClientURLs...), Learner: m.Learner,
			Answered: m.Answered, Version: m.Version, StorageVersion: m.Storage, Leader: m.Leader, DBSize: strconv.FormatInt(m.DBSize, 10),
			DBSizeInUse: strconv.FormatInt(m.DBSizeInUse, 10), RaftApplied: strconv.FormatUint(m.RaftApplied, 10)})
	}
	o.Later, o.LaterUnknown = evidence.LookOn(ctx, at.src.now(), o.Report, at.unlocked.opener())
}

// askAPI asks the API and every apiserver. What they do not tell is said in the bundle.
func (f *evidenceFlags) askAPI(ctx context.Context, at scene, o *evidence.Observed) error {
	cfg, err := at.kube.config()
	if err != nil {
		why := "there is no kubeconfig that can be used"
		o.Cluster.Unknown = append(o.Cluster.Unknown, "the API was not asked: "+why)
		o.APIServers, o.NotReconciled = unasked(why), why
		return nil
	}
	identity := witness.Identify(ctx, cfg, f.clock)
	o.Cluster.KubeSystemNamespaceUID, o.Cluster.KubernetesVersion = identity.KubeSystemNamespaceUID, identity.KubernetesVersion
	o.Cluster.Unknown = append(o.Cluster.Unknown, identity.Unknown...)
	o.Actor.Kubernetes, o.Corroboration = identity.User, identity.Corroboration
	o.APIServers = *witness.APIServers(ctx, apiservers.Request{Config: cfg, Addresses: at.servers}, question(at.unlocked))
	o.APIServers.Earlier, o.APIServers.EarlierAt = f.earlier, f.earlierAt
	if !f.reconcile {
		return nil
	}
	return reconcile(ctx, cfg, o)
}

// question is what every apiserver should have loaded.
func question(u *unlocked) apiservers.Question {
	q := apiservers.Question{KMSKeyIDs: make(map[string]string)}
	if c := u.config(); c != nil {
		q.EncryptionConfig, q.KMSProviders = c.Hash, writingPlugins(c)
	}
	for provider, key := range u.current {
		if key.KeyID != "" {
			q.KMSKeyIDs[provider] = encryption.KeyIDHash(key.KeyID)
		}
	}
	return q
}

// writingPlugins are the KMS providers that an EncryptionConfiguration encrypts with.
func writingPlugins(c *encryption.Configuration) []string {
	names := []string{}
	for i, k := range c.Keys {
		if k.Provider == "kms" && len(c.WrittenWith(i)) > 0 {
			names = append(names, k.Name)
		}
	}
	return names
}

// reconcile compares what was read with what the API lists.
func reconcile(ctx context.Context, cfg *rest.Config, o *evidence.Observed) error {
	compared, leftOut, err := witness.Reconcile(ctx, witness.Comparison{
		Config: cfg, Revision: o.Report.Source.Revision,
		Covers: func(group, resource string) bool {
			return o.Report.Covers(verify.Resource{Group: group, Name: resource})
		},
		Objects: func(yield func(witness.Object, error) bool) {
			for o, err := range o.Records.Objects {
				if !yield(witness.Object{Group: o.Group, Resource: o.Resource, Namespace: o.Namespace, Name: o.Name, ModRevision: o.ModRevision}, err) {
					return
				}
			}
		},
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		o.NotReconciled = err.Error()
		return nil
	}
	o.Reconciliation, o.LeftOut = compared, leftOut
	return nil
}

func unasked(why string) evidence.APIServers {
	return evidence.APIServers{APIVersion: evidence.APIVersion, Kind: "EvidenceAPIServers", Why: why, Disagreements: []string{}, Missing: []string{}, Gone: []string{}, Unchecked: []string{}, Servers: []evidence.APIServer{}}
}

// before is the bundle that the new one follows.
func (f *evidenceFlags) before(o *evidence.Observed) (*evidence.Previous, error) {
	switch f.previous {
	case "none":
		return nil, nil
	case "":
		return evidence.Newest(filepath.Dir(filepath.Clean(f.dir)), o.Cluster, o.Report.StartedAt), nil
	}
	previous, err := evidence.Named(f.previous, o.Cluster)
	if err != nil {
		return nil, fmt.Errorf("--previous %s: %w", f.previous, err)
	}
	return previous, nil
}

// wrote says on stderr where the bundle is, and what its claims come to.
func (p *program) wrote(f *evidenceFlags, doc *evidence.Document) {
	counts := map[evidence.Result]int{}
	for _, c := range doc.Scan.Claims {
		counts[c.Result]++
	}
	fmt.Fprintf(p.err, "svmctl: evidence in %s, of %d claims: %d pass, %d fail, %d inconclusive\n", oneLine(f.dir), len(doc.Scan.Claims), counts[evidence.Pass], counts[evidence.Fail], counts[evidence.Inconclusive])
	if doc.Signer == nil {
		fmt.Fprintf(p.err, "svmctl: hint: the bundle is not signed: --sign-key signs it, or in its directory %s\n", evidence.Attest)
	}
}

func resourceNames(resources []verify.Resource) []string {
	var names []string
	for _, r := range resources {
		names = append(names, r.String())
	}
	return names
}
