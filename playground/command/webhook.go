package command

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/svmctl/svmctl/playground/webhook"
)

func newWebhookCommand() *cobra.Command {
	var dir, addr, cert, key, readyFile, denyName string
	var policy webhook.Policy
	cmd := &cobra.Command{
		Use:   "webhook",
		Short: "Serve a validating admission webhook that refuses or fails on request",
		Long: `Serve a validating admission webhook over TLS in the foreground. It prints its URL, which
'playground webhook-config' takes, and writes it to the ready file.

It allows everything but what the flags say. While it runs,
  POST /fail?for=10s    has it answer HTTP 500 to each review for that long,
  POST /fail?first=3    to so many reviews, and
  GET  /counts          tells how many were allowed, denied and failed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if denyName != "" {
				var err error
				if policy.DenyName, err = regexp.Compile(denyName); err != nil {
					return fmt.Errorf("--deny-name: %w", err)
				}
			}
			if (cert == "") != (key == "") {
				return errors.New("--cert and --key go together")
			}
			if cert == "" {
				layout, err := layoutOf(dir)
				if err != nil {
					return err
				}
				cert, key = layout.WebhookCertificate()
			}
			pair, err := tls.LoadX509KeyPair(cert, key)
			if err != nil {
				return fmt.Errorf("loading certificate of the webhook: %w", err)
			}
			listener, err := net.Listen("tcp", addr)
			if err != nil {
				return fmt.Errorf("listening on %s: %w", addr, err)
			}
			server := &http.Server{
				Handler:   webhook.New(policy, time.Now),
				TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}},
			}
			url := "https://" + listener.Addr().String()
			if err := announce(readyFile, url); err != nil {
				listener.Close()
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), url)
			return serveUntil(cmd.Context(), server, listener)
		},
	}
	addDirFlag(cmd, &dir)
	cmd.Flags().StringVar(&addr, "addr", "127.0.0.1:0", "`address` to listen on; port 0 takes a free one")
	cmd.Flags().StringVar(&cert, "cert", "", "certificate `file` (default that of the plane in --dir)")
	cmd.Flags().StringVar(&key, "key", "", "key `file` (default that of the plane in --dir)")
	cmd.Flags().StringVar(&readyFile, "ready-file", "", "`file` to write the URL to once it listens")
	cmd.Flags().StringVar(&denyName, "deny-name", "", "refuse UPDATEs of objects whose name matches this `regexp`")
	cmd.Flags().StringVar(&policy.DenyMessage, "deny-message", "denied by the playground's webhook", "reason to give with a refusal")
	cmd.Flags().IntVar(&policy.FailFirst, "fail-first", 0, "answer HTTP 500 to the first `N` reviews")
	cmd.Flags().DurationVar(&policy.FailFor, "fail-for", 0, "answer HTTP 500 for so long from the first review on")
	return cmd
}

// announce writes the file in one step: a reader that finds it finds the whole URL.
func announce(path, url string) error {
	if path == "" {
		return nil
	}
	if err := os.WriteFile(path+".new", []byte(url+"\n"), 0o600); err != nil {
		return fmt.Errorf("writing ready file: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("writing ready file: %w", err)
	}
	return nil
}

func serveUntil(ctx context.Context, server *http.Server, listener net.Listener) error {
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving webhook: %w", err)
	}
	return nil
}

func newWebhookConfigCommand() *cobra.Command {
	var dir string
	var config webhook.Configuration
	cmd := &cobra.Command{
		Use:   "webhook-config",
		Short: "Print a ValidatingWebhookConfiguration for the webhook",
		Long: `Print a ValidatingWebhookConfiguration that has the apiserver ask the webhook about each
UPDATE of the resources, to be piped into 'playground kubectl apply -f -'.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			layout, err := layoutOf(dir)
			if err != nil {
				return err
			}
			if config.CABundle, err = os.ReadFile(layout.CA()); err != nil {
				return fmt.Errorf("reading the plane's authority: %w", err)
			}
			data, err := config.YAML()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(data)
			return err
		},
	}
	addDirFlag(cmd, &dir)
	cmd.Flags().StringVar(&config.URL, "url", "", "`URL` that the webhook printed")
	cmd.Flags().StringSliceVar(&config.Resources, "resource", []string{"secrets"}, "`resource` to ask about, as secrets or deployments.apps, repeatable")
	cmd.Flags().StringVar(&config.Name, "name", "playground.svmctl.dev", "`name` of the configuration and of its webhook")
	cmd.Flags().StringVar(&config.FailurePolicy, "failure-policy", "Fail", "what a webhook that does not answer means: Fail or Ignore")
	cmd.MarkFlagRequired("url")
	return cmd
}
