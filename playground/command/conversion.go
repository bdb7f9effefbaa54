package command

import (
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/svmctl/svmctl/playground/conversion"
)

func newConversionCommand() *cobra.Command {
	var failName string
	var serving webhookServing
	var policy conversion.Policy
	cmd := &cobra.Command{
		Use:   "conversion",
		Short: "Serve the conversion webhook of SelfieRequests, which fails or errs on request",
		Long: `Serve the conversion webhook of selfierequests.stable.example.com over TLS in the foreground: v1
holds spec.hostPort, v2 spec.host and spec.port. It prints its URL, which 'playground
conversion-crd' takes, and writes it to the ready file.

It converts everything but what the flags say. A review may hold several objects, and one that
cannot be converted fails them all; the apiserver asks several times for one PATCH, so that a
delay adds up. While it runs,
  POST /fail?for=10s        has it answer HTTP 500 to each review for that long,
  POST /fail?first=3        to so many reviews,
  POST /fail?name=REGEXP    fail objects whose name matches, or none when empty, and
  GET  /counts              tells how many reviews and objects were converted, and how many
                            reviews were refused and failed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if failName != "" {
				var err error
				if policy.FailName, err = regexp.Compile(failName); err != nil {
					return fmt.Errorf("--fail-name: %w", err)
				}
			}
			return serving.serve(cmd, conversion.New(policy, time.Now))
		},
	}
	serving.addFlags(cmd, &policy.Outage)
	cmd.Flags().StringVar(&failName, "fail-name", "", "fail each review that holds an object whose name matches this `regexp`")
	cmd.Flags().StringVar(&policy.FailMessage, "fail-message", "failed by the playground's webhook", "reason to give with a failure on request")
	cmd.Flags().DurationVar(&policy.Delay, "delay", 0, "wait so long before each answer; the apiserver gives up after 30s")
	cmd.Flags().Var(&policy.Wrong, "wrong", "what is wrong with each answer: version, count, uid or metadata")
	cmd.Flags().BoolVar(&policy.DropPort, "drop-port", false, "lose spec.port when converting v1 to v2")
	return cmd
}

func newConversionCRDCommand() *cobra.Command {
	var dir, url string
	cmd := &cobra.Command{
		Use:   "conversion-crd FILE",
		Short: "Print a CustomResourceDefinition with the conversion webhook filled in",
		Long: `Print the CustomResourceDefinition of the file with the URL and the authority of the conversion
webhook filled in, to be piped into 'playground kubectl apply -f -'.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			manifest, err := os.ReadFile(args[0])
			if err != nil {
				return fmt.Errorf("reading CustomResourceDefinition: %w", err)
			}
			layout, err := layoutOf(dir)
			if err != nil {
				return err
			}
			bundle, err := os.ReadFile(layout.CA())
			if err != nil {
				return fmt.Errorf("reading the plane's authority: %w", err)
			}
			data, err := conversion.CRD(manifest, url, bundle)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(data)
			return err
		},
	}
	addDirFlag(cmd, &dir)
	cmd.Flags().StringVar(&url, "url", "", "`URL` that the webhook printed")
	cmd.MarkFlagRequired("url")
	return cmd
}
