package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/crd"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/decrypt"
	"github.com/svmctl/svmctl/internal/etcdscan/live"
	"github.com/svmctl/svmctl/internal/etcdscan/snapshot"
	"github.com/svmctl/svmctl/internal/migrate"
	"github.com/svmctl/svmctl/internal/residue"
	"github.com/svmctl/svmctl/internal/rewrite"
	"github.com/svmctl/svmctl/internal/storedversions"
	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/evidence"
)

const (
	exitDone          = 0
	exitFailed        = 1
	exitUsage         = 2
	exitIncomplete    = 3
	exitIndeterminate = 4
	exitInterrupted   = 130
)

// exitError carries an exit status that does not follow from the error itself. A nil err prints nothing: the report
// has said it.
type exitError struct {
	code  int
	err   error
	hints []string
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usageError(err error, hints ...string) error {
	return &exitError{code: exitUsage, err: err, hints: append(hints, "svmctl --help shows what there is")}
}

func interrupted(err error) error {
	var exit *exitError
	if errors.As(err, &exit) && exit.code == exitInterrupted {
		return err
	}
	return &exitError{code: exitInterrupted, err: errors.New("interrupted")}
}

// verdictExit is the exit status of a verdict; a report without one was made to be read.
func verdictExit(v verify.Verdict) error {
	switch v {
	case verify.Incomplete:
		return &exitError{code: exitIncomplete}
	case verify.Indeterminate:
		return &exitError{code: exitIndeterminate}
	}
	return nil
}

// worst is the exit status of several reports: wrong usage and no report weigh more than Incomplete, and that more than Indeterminate.
func worst(codes []int) error {
	for _, code := range []int{exitInterrupted, exitUsage, exitFailed, exitIncomplete, exitIndeterminate} {
		if slices.Contains(codes, code) {
			return &exitError{code: code}
		}
	}
	return nil
}

// report prints an error with its hints and returns the exit status. It is the only place where errors become words
// and numbers.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitDone
	}
	code, hints := exitFailed, hintsFor(err)
	var exit *exitError
	if errors.As(err, &exit) {
		code = exit.code
		hints = append(exit.hints[:len(exit.hints):len(exit.hints)], hints...)
		if exit.err == nil {
			return code
		}
	}
	fmt.Fprintf(w, "svmctl: error: %s\n", oneLine(err.Error()))
	for _, hint := range hints {
		fmt.Fprintf(w, "svmctl: hint: %s\n", oneLine(hint))
	}
	return code
}

// oneLine keeps a message to its line, and what it quotes from steering the terminal.
func oneLine(s string) string { return render.Inert(strings.Join(strings.Fields(s), " ")) }

// hintsFor is the next safe step for the errors that can be foreseen.
func hintsFor(err error) []string {
	var (
		unknownAuthority x509.UnknownAuthorityError
		hostname         x509.HostnameError
		invalid          x509.CertificateInvalidError
		record           tls.RecordHeaderError
		unknownResource  *rewrite.UnknownResourceError
		file             *live.FileError
		configuration    *decrypt.FileError
		unreachable      *live.UnreachableError
		stop             *migrate.Stop
		unchecked        *migrate.UncheckedError
		subresource      *migrate.SubresourceError
		unknownCRD       *storedversions.UnknownError
		version          *migrate.VersionError
		refusedCRD       *crd.RefusedError
	)
	switch {
	case errors.As(err, &configuration) && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)):
		return []string{"the apiserver's flag --encryption-provider-config names the file; only root may read it, as a rule"}
	case errors.As(err, &configuration):
		return []string{"an apiserver with this file would not start, or would go on with the file before"}
	case errors.Is(err, live.ErrNoEndpoints):
		return []string{"pass --endpoints, --cacert, --cert and --key, or set ETCDCTL_ENDPOINTS, ETCDCTL_CACERT, ETCDCTL_CERT and ETCDCTL_KEY"}
	case errors.Is(err, live.ErrHalfKeyPair):
		return []string{"pass both, or set both ETCDCTL_CERT and ETCDCTL_KEY"}
	case errors.As(err, &unknownAuthority):
		return []string{"the certificate of the server is signed by another authority than --cacert (ETCDCTL_CACERT) holds; on a kubeadm node it is /etc/kubernetes/pki/etcd/ca.crt"}
	case errors.As(err, &hostname):
		return []string{"use the name or address that the certificate of etcd was made for"}
	case errors.As(err, &invalid):
		return []string{"look at the certificate's dates and usage: openssl x509 -noout -text -in FILE"}
	case errors.As(err, &record), errors.As(err, &unreachable) && errors.Is(err, io.EOF):
		return []string{"this endpoint does not speak TLS: is it http:// rather than https://, or another port?"}
	case errors.Is(err, live.ErrClientCertificate):
		return []string{"pass --cert and --key (ETCDCTL_CERT, ETCDCTL_KEY) signed by the authority that etcd trusts for clients; on a kubeadm node /etc/kubernetes/pki/apiserver-etcd-client.crt and .key"}
	case errors.Is(err, live.ErrWantsTLS):
		return []string{"write https://, and pass --cacert, --cert and --key"}
	case errors.Is(err, live.ErrCredentials):
		return []string{"check --etcd-user and the file given to --etcd-password-file"}
	case errors.Is(err, etcdscan.ErrPermission):
		return []string{"etcd lets this user or certificate read something else only: narrow the scope with --prefix, or use credentials that may read it"}
	case errors.Is(err, live.ErrMixedClusters):
		return []string{"list the members of one etcd cluster in --endpoints"}
	case errors.As(err, &file), errors.Is(err, fs.ErrNotExist):
		return []string{"check the path and that this user may read it"}
	case errors.Is(err, audit.ErrNothingFound):
		return []string{"leave --prefix out to let svmctl find the storage roots; the apiserver's flag --etcd-prefix tells the root"}
	case errors.Is(err, audit.ErrNoRoot):
		return []string{"is this the etcd of a control plane? If the objects lie under an unusual root, name it with --prefix"}
	case errors.Is(err, etcdscan.ErrTooManyDirectories):
		return []string{"this etcd holds much beside Kubernetes: name the storage root with --prefix (the apiserver's --etcd-prefix)"}
	case errors.Is(err, etcdscan.ErrUnsupportedStore):
		return []string{"kine can be read from 0.16.5 or 0.17.1 on, in SQLite, PostgreSQL or MySQL: update k3s, or use a server with embedded etcd (--cluster-init)"}
	case errors.Is(err, live.ErrSeveralKine):
		return []string{"name one endpoint"}
	case errors.Is(err, evidence.ErrPrefixNames):
		return []string{"read the whole resource, or show names: --redact names"}
	case errors.Is(err, evidence.ErrNoBundle):
		return []string{"name the directory that --evidence made"}
	case errors.Is(err, evidence.ErrNoRedactionKey):
		return []string{"the operator who made the bundle has it: --redaction-key FILE"}
	case errors.Is(err, evidence.ErrNoRecords):
		return []string{"the same command with --redact hmac and the same key, at the same revision or on the same file, gives the records of this tree"}
	case errors.Is(err, snapshot.ErrInUse):
		return []string{inUseHint}
	case errors.Is(err, residue.ErrNothing):
		return []string{"a data directory has member/snap/db in it; of a compressed file, unpack it first"}
	case errors.Is(err, snapshot.ErrForeign), errors.Is(err, snapshot.ErrNotEtcd), errors.Is(err, snapshot.ErrNoDatabase):
		return []string{"what can be read is what etcdctl snapshot save wrote, a copied member/snap/db, or a directory with one in it; unpack what is compressed first"}
	case errors.Is(err, snapshot.ErrTruncated):
		return []string{"the copy did not come to its end: compare its size with that of the file it was made of, and copy it again"}
	case errors.Is(err, live.ErrNoSnapshot):
		return []string{"back up the database itself, and leave --snapshot-first out"}
	case errors.Is(err, etcdscan.ErrCompacted):
		return []string{"etcd no longer keeps that revision: leave --revision out to read the newest"}
	case errors.Is(err, etcdscan.ErrFutureRevision):
		return []string{"leave --revision out to read the newest"}
	case errors.As(err, &stop):
		return []string{stop.Hint}
	case errors.As(err, &unknownResource):
		return unknownResourceHints(unknownResource)
	case errors.As(err, &unchecked):
		return []string{"reading it takes the verb get on customresourcedefinitions (docs/rbac.md); nothing was written"}
	case errors.As(err, &version):
		return []string{"it has " + strings.Join(version.Readable, ", ") + "; nothing was written"}
	case errors.As(err, &subresource):
		return []string{"leave --subresource out; nothing was written"}
	case errors.As(err, &refusedCRD) && refusedCRD.Forbidden():
		return []string{"the verbs are get and list on customresourcedefinitions.apiextensions.k8s.io: see docs/rbac.md"}
	case errors.As(err, &unknownCRD) && len(unknownCRD.Near) > 0:
		return []string{"did you mean " + strings.Join(unknownCRD.Near, ", ") + "?"}
	case errors.As(err, &unknownCRD):
		return []string{"svmctl crds lists them all"}
	case errors.Is(err, fs.ErrExist):
		return []string{"name a file that does not exist yet: svmctl overwrites none"}
	case errors.Is(err, migrate.ErrForeignEtcd), errors.Is(err, storedversions.ErrForeignEtcd):
		return []string{"--endpoints and the kubeconfig must belong to the same control plane"}
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return []string{"is the server up, and are address and port right? Where etcd speaks TLS, its URL begins with https://"}
	}
	return nil
}

// isTimeout tells whether a server did not answer in time.
func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

func unknownResourceHints(err *rewrite.UnknownResourceError) []string {
	if len(err.Near) == 0 {
		return []string{"kubectl api-resources lists what this apiserver serves"}
	}
	return []string{"did you mean " + strings.Join(err.Near, ", ") + "?"}
}
