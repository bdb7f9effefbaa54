// Package keys tells of each encryption key where it is still needed, and whether it can be removed from the
// EncryptionConfiguration. It reads etcd and asks the apiservers; it writes nothing.
package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/encryption"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/key"
	"github.com/svmctl/svmctl/internal/node"
	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/expect"
)

// Store is an etcd that can also be asked for single keys.
type Store interface {
	etcdscan.Source
	Look(ctx context.Context, key string) (kv etcdscan.KeyValue, found bool, err error)
	Revision(ctx context.Context) (int64, error) // the newest
}

// Elsewhere is an etcd in which single resources live.
type Elsewhere struct {
	Resources []verify.Resource
	Store     Store
	Origin    audit.Source
}

// Request is what to look at.
type Request struct {
	Store    Store // nil: only the files that are kept
	Origin   audit.Source
	Further  []Elsewhere
	Prefixes []string // empty: the storage roots found in etcd
	Kept     []string // files that are kept beside it, each a snapshot, a copied database or a data directory

	Opener     etcdscan.Opener // nil: ciphertext stays closed
	Sample     bool
	Encryption *audit.Encryption
	Config     *encryption.Configuration    // nil: there is none, and nothing can be called removable
	Current    map[string]expect.CurrentKey // of the KMS v2 plugins, by the names of their providers
	Announce   func(calls map[string]int64)

	APIServers *rest.Config // nil: they cannot be asked, and Unasked says why
	Addresses  []string     // of the apiservers; empty: those that are found
	Unasked    string
	// Overrides are those of --etcd-servers-overrides that are known beforehand, all of them if OverridesTold.
	Overrides     []node.Override
	OverridesTold bool

	History   bool    // count the older revisions as well that the main etcd still gives
	CanRemove *Wanted // nil: no key in particular
	// Settle is how long after an apiserver has loaded its configuration, or was started, etcd is read for an answer: what was
	// encrypted before may still be on its way into etcd.
	Settle   time.Duration
	Waiting  func(time.Duration) // told before such a wait; may be nil
	Version  string
	Now      func() time.Time
	Progress *etcdscan.Progress
}

// look is one run.
type look struct {
	Request
	report  *Report
	entries []etcdscan.Entry
	old     []etcdscan.Entry // older revisions
	further []further
	pin     etcdscan.Pin // of the main etcd
	roots   []string
	loaded  map[string]time.Time // since when each apiserver wrote as it did before etcd was read
	met     map[string][]string  // KMS v2 provider → hashes of the key IDs that some apiserver has had to do with
	rows    []*Row
	doubts  []string // why nothing can be called removable
	against []string // why nothing is
}

// Run takes the look. An error means that no report could be made.
func Run(ctx context.Context, req Request) (*Report, error) {
	l := &look{Request: req, report: &Report{
		APIVersion: audit.APIVersion, Kind: "KeyReport", Tool: audit.Tool{Version: req.Version}, Source: req.Origin, Encryption: req.Encryption,
		StartedAt: req.Now().UTC(), Further: []Further{}, Doubts: []string{}, Warnings: []string{}, Keys: []Row{}, Snapshots: []Kept{},
	}}
	if l.report.Source.Endpoints == nil {
		l.report.Source.Endpoints = []string{}
	}
	if err := l.readKept(ctx); err != nil {
		return nil, err
	}
	if err := l.readLive(ctx); err != nil {
		return nil, err
	}
	l.makeRows()
	if err := l.judge(); err != nil {
		return nil, err
	}
	l.warnOfThree()
	for _, row := range l.rows {
		l.report.Keys = append(l.report.Keys, *row)
	}
	l.report.FinishedAt = req.Now().UTC()
	return l.report, nil
}

// readLive reads etcd between two looks at the apiservers.
func (l *look) readLive(ctx context.Context) error {
	if l.Store == nil {
		l.report.Scope.Prefixes = []string{}
		l.doubt("no etcd was read")
		return nil
	}
	if err := l.ask(ctx); err != nil {
		return err
	}
	if err := l.read(ctx); err != nil {
		return err
	}
	return l.askAgain(ctx)
}

// read scans the main etcd and those beside it.
func (l *look) read(ctx context.Context) error {
	result, scope, err := l.scan(ctx, l.Store, l.Prefixes, l.mayReadAll(ctx))
	if err != nil {
		return err
	}
	if result.Tally.Objects() == 0 && result.Shortfall == nil {
		return audit.ErrNothingFound
	}
	l.roots, l.pin = scope.Roots, result.Pin
	describe(&l.report.Source, result)
	l.report.Scope = scopeOf(scope, result, len(l.Prefixes) == 0)
	if outside, err := etcdscan.CountOutside(ctx, l.Store, scope, result.Pin.Revision); err == nil {
		l.report.Scope.Outside = &outside
	}
	if len(l.Prefixes) > 0 {
		l.doubt("only %s was read: --prefix left the rest out", strings.Join(scope.Prefixes, ", "))
	}
	if l.History {
		past, err := etcdscan.History(ctx, l.Store, scope, result.Pin.Revision, l.Opener)
		if err != nil {
			return err
		}
		l.report.Scope.History, l.old = true, past.Tally.Entries()
	}
	for _, e := range l.Further {
		if err := l.readFurther(ctx, e); err != nil {
			return err
		}
	}
	l.report.Silent = audit.SilentPlugins(l.entries)
	l.opened()
	return nil
}

// mayReadAll tells whether all of etcd can be read, and not the storage roots alone: what lies beside them, where nobody looks for a
// root, may be under a key as well. Of kine, which pages by prefix, the roots are read.
func (l *look) mayReadAll(ctx context.Context) bool {
	if len(l.Prefixes) > 0 || l.Origin.Kine {
		return false
	}
	_, err := l.Store.Count(ctx, etcdscan.Range{}, 0)
	if errors.Is(err, etcdscan.ErrPermission) {
		l.doubt("etcd lets this user read a part alone, and so other storage roots are not seen")
	}
	return err == nil
}

func (l *look) readFurther(ctx context.Context, e Elsewhere) error {
	var prefixes []string
	for _, root := range l.roots {
		for _, r := range e.Resources {
			prefixes = append(prefixes, root+"/"+key.DirIn(root, r.Group, r.Name))
		}
	}
	result, scope, err := l.scan(ctx, e.Store, prefixes, false)
	if err != nil {
		return fmt.Errorf("reading the etcd of %s: %w", namesOf(e.Resources), err)
	}
	f := Further{Source: e.Origin, Scope: scopeOf(scope, result, true), Resources: []string{}}
	describe(&f.Source, result)
	for _, r := range e.Resources {
		f.Resources = append(f.Resources, r.String())
	}
	l.report.Further = append(l.report.Further, f)
	l.further = append(l.further, further{Elsewhere: e, objects: result.Tally.Objects(), pin: result.Pin})
	return nil
}

// further is an etcd beside the main one, as it was read.
type further struct {
	Elsewhere
	objects int64
	pin     etcdscan.Pin
	shown   bool // an apiserver lists objects that it holds
}

func (l *look) scan(ctx context.Context, store Store, prefixes []string, all bool) (etcdscan.Result, etcdscan.Scope, error) {
	scope, err := audit.ScopeOf(ctx, store, prefixes, 0)
	if err != nil {
		return etcdscan.Result{}, etcdscan.Scope{}, err
	}
	if all {
		scope.Ranges = []etcdscan.Range{{}}
	}
	reading := etcdscan.Reading{Source: store, Scope: scope, Opener: l.Opener, Sample: l.Sample, Progress: l.Progress, Announce: l.Announce}
	result, err := etcdscan.Scan(ctx, reading, discard{})
	if err != nil {
		return etcdscan.Result{}, etcdscan.Scope{}, err
	}
	if result.Shortfall != nil {
		l.doubt("not everything could be read: %v", result.Shortfall)
	}
	l.entries = append(l.entries, result.Tally.Entries()...)
	return result, scope, nil
}

func describe(s *audit.Source, result etcdscan.Result) {
	s.Revision = result.Pin.Revision
	if result.Pin.ClusterID != 0 {
		s.ClusterID = strconv.FormatUint(result.Pin.ClusterID, 16)
	}
	if s.Endpoints == nil {
		s.Endpoints = []string{}
	}
}

func scopeOf(scope etcdscan.Scope, result etcdscan.Result, found bool) audit.Scope {
	return audit.Scope{Prefixes: scope.Prefixes, Found: found, Whole: result.Shortfall == nil}
}

type discard struct{}

func (discard) Begin()                                       {}
func (discard) Take(*etcdscan.Record, *etcdscan.Entry) error { return nil }

func (l *look) doubt(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(l.doubts, text) {
		l.doubts = append(l.doubts, text)
	}
}

func (l *look) object(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(l.against, text) {
		l.against = append(l.against, text)
	}
}

func (l *look) warn(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(l.report.Warnings, text) {
		l.report.Warnings = append(l.report.Warnings, text)
	}
}

func namesOf(resources []verify.Resource) string {
	var names []string
	for _, r := range resources {
		names = append(names, r.String())
	}
	return strings.Join(names, ", ")
}
