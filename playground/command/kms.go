package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/svmctl/svmctl/playground/kms"
	"github.com/svmctl/svmctl/playground/supervisor"
)

// kmsServing is where a KMS plugin is served and steered, and where its keys lie.
type kmsServing struct {
	dir, socket, addr, readyFile, keyFile, keyID string
	version                                      kms.Version
}

func newKMSCommand() *cobra.Command {
	serving := kmsServing{version: kms.V2}
	var settings kms.Settings
	cmd := &cobra.Command{
		Use:   "kms",
		Short: "Serve a KMS plugin with keys in a file, which rotates, fails or is slow on request",
		Long: `Serve a KMS plugin on a unix socket in the foreground, for the provider kms of an
EncryptionConfiguration. It wraps with AES-256-GCM under the current one of its keys, which lie
in the key file. It prints the URL that steers it, and writes it to the ready file. There
  POST /rotate?id=ID    makes a new key the current one; without ID it is the next kek-N,
  POST /drop?id=ID      destroys a key other than the current one,
  POST /fail?for=10s    has it answer Unavailable to each call for that long,
  POST /fail?first=3    to so many calls,
  POST /delay?of=2s     has it wait so long before each call, until of=0s,
  POST /healthz?text=T  has Status of v2 say T, until it is empty, and
  GET  /counts          tells the keys, and how many calls were answered and failed.
It ends by SIGTERM or Ctrl-C, and takes the socket away. Another one with the same key file
opens what this one wrapped.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serving.run(cmd, settings)
		},
	}
	addDirFlag(cmd, &serving.dir)
	cmd.Flags().StringVar(&serving.socket, "socket", "", "`path` of the unix socket to listen on")
	cmd.Flags().StringVar(&settings.Name, "name", "vault", "`name` of the plugin, for the key file")
	cmd.Flags().StringVar(&serving.keyFile, "key-file", "", "`file` with the keys, made when missing (default kms-NAME.json in --dir)")
	cmd.Flags().StringVar(&serving.keyID, "key-id", "", "`ID` of the first key of a new file (default kek-1)")
	cmd.Flags().Var(&serving.version, "version", "version of the KMS API, v2 or v1")
	cmd.Flags().BoolVar(&settings.Annotate, "annotate", false, "return an annotation with each Encrypt of v2, and want it back")
	cmd.Flags().StringVar(&serving.addr, "addr", "127.0.0.1:0", "`address` to be steered at; port 0 takes a free one")
	cmd.Flags().StringVar(&serving.readyFile, "ready-file", "", "`file` to write the URL to once it listens")
	cmd.MarkFlagRequired("socket")
	return cmd
}

// run serves the plugin until the command's context ends.
func (s *kmsServing) run(cmd *cobra.Command, settings kms.Settings) error {
	keyFile := s.keyFile
	if keyFile == "" {
		if settings.Name == "" || strings.ContainsRune(settings.Name, '/') {
			return fmt.Errorf("--name %q: no name for a key file", settings.Name)
		}
		layout, err := layoutOf(s.dir)
		if err != nil {
			return err
		}
		keyFile = layout.KMSKeys(settings.Name)
		if err := os.MkdirAll(filepath.Dir(keyFile), 0o700); err != nil { // the plugin comes before the plane
			return fmt.Errorf("creating the directory of the keys: %w", err)
		}
	}
	lock, err := supervisor.Acquire(keyFile + ".lock")
	if errors.Is(err, supervisor.ErrLocked) {
		return fmt.Errorf("%s: another plugin has these keys", keyFile)
	}
	if err != nil {
		return err
	}
	defer lock.Release()
	keys, err := kms.OpenKeyring(keyFile, s.keyID)
	if err != nil {
		return err
	}
	control, err := net.Listen("tcp", s.addr)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", s.addr, err)
	}
	defer control.Close()
	socket, err := kms.Listen(s.socket)
	if err != nil {
		return err
	}
	defer socket.Close()
	url := "http://" + control.Addr().String()
	if err := announce(s.readyFile, url); err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout(), url)
	plugin := kms.New(settings, keys, time.Now)
	return servePlugin(cmd.Context(), plugin.Server(s.version), socket, &http.Server{Handler: plugin}, control)
}

// servePlugin serves both until ctx or one of them ends. Calls that are under way then are cut off.
func servePlugin(ctx context.Context, plugin *grpc.Server, socket net.Listener, steering *http.Server, control net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		plugin.Stop()
		steering.Close()
	})
	defer stop()
	steered := make(chan error, 1)
	go func() {
		defer cancel()
		steered <- steering.Serve(control)
	}()
	err := plugin.Serve(socket)
	cancel()
	if steeringErr := <-steered; !errors.Is(steeringErr, http.ErrServerClosed) {
		return fmt.Errorf("serving the plugin's control: %w", steeringErr)
	}
	if err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serving the plugin: %w", err)
	}
	return nil
}
