package rewrite

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	svmv1 "k8s.io/api/storagemigration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Condition is what the controller says of a migration: a claim, no more.
type Condition struct {
	Type   string // Running, Succeeded or Failed; "" if there is none yet
	Status string // True, False or Unknown
	Reason string // the controller's word; "" if it is not a CamelCase identifier
	// Since is when the controller says the condition took this status.
	Since time.Time
	// Remaining and Total are the object counts of a Running condition, where the controller gives them.
	Remaining, Total int
	// Message is the controller's free text. It may quote an object: never show it unless the user asked for that.
	Message string
	// Stall is set if this is no news of the controller, but an explanation of why there is none.
	Stall Stall
}

// Claims reports whether the condition is of the given type and true.
func (c Condition) Claims(t svmv1.MigrationConditionType) bool {
	return c.Type == string(t) && c.Status == string(metav1.ConditionTrue)
}

// Stall is why a migration does not move.
type Stall int

const (
	NoStall Stall = iota
	// StallUnclaimed: no controller has taken the migration up. None runs (the feature gate
	// StorageVersionMigrator is off, or kube-controller-manager is down), or another migration of the same
	// resource is running and this one has to wait for it.
	StallUnclaimed
	// StallWaiting: the controller has taken it up and reports nothing. It patches nothing before the garbage
	// collector's cache has reached the revision at which the migration began, which takes minutes on a cluster
	// where little is written; while it patches it reports nothing either. (Up to Kubernetes 1.34 it waits without a
	// condition, and shows by status.resourceVersion alone that it has taken the migration up.)
	StallWaiting
	// StallRetrying: the controller met an error that it retries without end.
	StallRetrying
)

var stallNames = [...]string{"none", "unclaimed", "waiting", "retrying"}

// String returns the word used in reports.
func (s Stall) String() string {
	if s < 0 || int(s) >= len(stallNames) {
		return "Stall(" + strconv.Itoa(int(s)) + ")"
	}
	return stallNames[s]
}

// StallError tells that a migration was given up because nothing changed any more.
type StallError struct {
	Stall    Stall
	Duration time.Duration // without a change
}

func (e *StallError) Error() string {
	d := e.Duration.Round(time.Second)
	switch e.Stall {
	case StallUnclaimed:
		return fmt.Sprintf("no controller has taken it up for %s", d)
	case StallRetrying:
		return fmt.Sprintf("the controller has retried one error for %s", d)
	}
	return fmt.Sprintf("nothing has changed for %s", d)
}

const (
	stallNotice = 30 * time.Second
	// unclaimedTimeout is shorter than StallTimeout: a controller needs no cache to take a migration up, and a
	// kube-controller-manager that takes over the lead does so in some 20 s.
	unclaimedTimeout = 2 * time.Minute
)

// tracker turns successive states of one migration into visits.
type tracker struct {
	timeout  time.Duration
	visit    func(Condition)
	seen     map[string]migrationCondition
	version  string // status.resourceVersion
	last     Condition
	retrying bool
	changed  time.Time
	noticed  bool
}

func newTracker(timeout time.Duration, visit func(Condition)) *tracker {
	return &tracker{timeout: timeout, visit: visit, seen: make(map[string]migrationCondition), changed: time.Now()}
}

// see takes in a state and returns the terminal condition, if there is one.
func (t *tracker) see(st migrationStatus) *Condition {
	if st.ResourceVersion != t.version {
		t.version = st.ResourceVersion
		t.moved()
	}
	var terminal *Condition
	for _, c := range st.Conditions {
		cond := claim(c)
		if (cond.Claims(svmv1.MigrationSucceeded) || cond.Claims(svmv1.MigrationFailed)) && terminal == nil {
			terminal = &cond
		}
		if old, ok := t.seen[c.Type]; ok && old.Status == c.Status && old.Reason == c.Reason && old.Message == c.Message {
			continue
		}
		t.seen[c.Type] = c
		if c.Type == string(svmv1.MigrationRunning) {
			t.retrying = strings.Contains(c.Message, "; transient error: ")
		}
		t.last = cond
		t.moved()
		t.visit(cond)
	}
	return terminal
}

func (t *tracker) moved() { t.changed, t.noticed = time.Now(), false }

// stalled explains a wait once and ends it after the timeout.
func (t *tracker) stalled() error {
	quiet := time.Since(t.changed)
	stall, limit := StallWaiting, t.timeout
	switch {
	case len(t.seen) == 0 && t.version == "":
		stall, limit = StallUnclaimed, min(t.timeout, unclaimedTimeout)
	case t.retrying:
		stall = StallRetrying
	}
	if quiet >= limit {
		return &StallError{Stall: stall, Duration: quiet}
	}
	if quiet >= stallNotice && !t.noticed {
		t.noticed = true
		c := t.last
		c.Stall = stall
		t.visit(c)
	}
	return nil
}

var (
	camelCase = regexp.MustCompile(`^[A-Z][A-Za-z]{0,63}$`)
	// remaining reads the controller's counts: kubernetes/pkg/controller/storageversionmigrator/util.go.
	remaining = regexp.MustCompile(`^The migration is running, ([0-9]{1,9})/([0-9]{1,9}) objects not yet migrated(?:;|$)`)
)

func claim(c migrationCondition) Condition {
	cond := Condition{Type: c.Type, Status: c.Status, Since: c.since(), Message: clip(c.Message)}
	if camelCase.MatchString(c.Reason) {
		cond.Reason = c.Reason
	}
	if m := remaining.FindStringSubmatch(c.Message); m != nil {
		cond.Remaining, _ = strconv.Atoi(m[1])
		cond.Total, _ = strconv.Atoi(m[2])
	}
	return cond
}
