package command

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"github.com/svmctl/svmctl/playground/outage"
)

// webhookServing is where and as whom a webhook is served.
type webhookServing struct {
	dir, addr, cert, key, readyFile string
}

// addFlags defines the flags that all webhooks have.
func (s *webhookServing) addFlags(cmd *cobra.Command, plan *outage.Plan) {
	addDirFlag(cmd, &s.dir)
	cmd.Flags().StringVar(&s.addr, "addr", "127.0.0.1:0", "`address` to listen on; port 0 takes a free one")
	cmd.Flags().StringVar(&s.cert, "cert", "", "certificate `file` (default that of the plane in --dir)")
	cmd.Flags().StringVar(&s.key, "key", "", "key `file` (default that of the plane in --dir)")
	cmd.Flags().StringVar(&s.readyFile, "ready-file", "", "`file` to write the URL to once it listens")
	cmd.Flags().IntVar(&plan.First, "fail-first", 0, "answer HTTP 500 to the first `N` reviews")
	cmd.Flags().DurationVar(&plan.For, "fail-for", 0, "answer HTTP 500 for so long from the first review on")
}

// serve serves the webhook over TLS until the command's context ends.
func (s *webhookServing) serve(cmd *cobra.Command, handler http.Handler) error {
	if (s.cert == "") != (s.key == "") {
		return errors.New("--cert and --key go together")
	}
	cert, key := s.cert, s.key
	if cert == "" {
		layout, err := layoutOf(s.dir)
		if err != nil {
			return err
		}
		cert, key = layout.WebhookCertificate()
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("loading certificate of the webhook: %w", err)
	}
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", s.addr, err)
	}
	server := &http.Server{Handler: handler, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}}
	url := "https://" + listener.Addr().String()
	if err := announce(s.readyFile, url); err != nil {
		listener.Close()
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout(), url)
	return serveUntil(cmd.Context(), server, listener)
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
