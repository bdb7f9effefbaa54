package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"io"
	"os"
	"os/user"
	"runtime"
	"runtime/debug"

	"github.com/svmctl/svmctl/internal/verify/evidence"
)

// tool is this program, and how it was called.
func tool(args []string) evidence.Tool {
	t := evidence.Tool{Name: "svmctl", Version: version, GoVersion: runtime.Version(), Arguments: args}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				t.GitCommit = s.Value
			}
		}
	}
	t.BinarySHA256 = ownDigest()
	return t
}

// ownDigest is the SHA-256 of this program; empty if it cannot be read.
func ownDigest() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return ""
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// actor is who runs this.
func actor(env func(string) (string, bool)) evidence.Actor {
	var a evidence.Actor
	if u, err := user.Current(); err == nil {
		a.OSUser = u.Username
	}
	a.Host, _ = os.Hostname()
	if sudo, ok := env("SUDO_USER"); ok && sudo != "" {
		a.OSUser += " (sudo by " + sudo + ")"
	}
	get := func(name string) string { v, _ := env(name); return v }
	switch {
	case get("GITHUB_ACTIONS") == "true":
		a.CI = &evidence.ContinuousBuild{Provider: "GitHub Actions", RunURL: withoutCredentials(get("GITHUB_SERVER_URL") + "/" + get("GITHUB_REPOSITORY") + "/actions/runs/" + get("GITHUB_RUN_ID"))}
	case get("GITLAB_CI") == "true":
		a.CI = &evidence.ContinuousBuild{Provider: "GitLab CI", RunURL: withoutCredentials(get("CI_JOB_URL"))}
	case get("BUILD_URL") != "":
		a.CI = &evidence.ContinuousBuild{Provider: "Jenkins", RunURL: withoutCredentials(get("BUILD_URL"))}
	}
	return a
}

// clientCert is the certificate by which etcd was asked.
func clientCert(etcd *etcdFlags) *evidence.ClientCert {
	cfg := etcd.config
	if v, ok := etcd.env("ETCDCTL_CERT"); ok && cfg.Cert == "" {
		cfg.Cert = v
	}
	der := cfg.ClientCertificate()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(der)
	return &evidence.ClientCert{Subject: cert.Subject.String(), Issuer: cert.Issuer.String(), Serial: cert.SerialNumber.Text(16), SHA256: hex.EncodeToString(sum[:]), NotAfter: cert.NotAfter.UTC()}
}
