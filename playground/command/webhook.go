package command

import (
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/svmctl/svmctl/playground/webhook"
)

func newWebhookCommand() *cobra.Command {
	var denyName string
	var serving webhookServing
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
			return serving.serve(cmd, webhook.New(policy, time.Now))
		},
	}
	serving.addFlags(cmd, &policy.Outage)
	cmd.Flags().StringVar(&denyName, "deny-name", "", "refuse UPDATEs of objects whose name matches this `regexp`")
	cmd.Flags().StringVar(&policy.DenyMessage, "deny-message", "denied by the playground's webhook", "reason to give with a refusal")
	return cmd
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
