package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Client speaks to a supervisor in another process.
type Client struct {
	http *http.Client
}

// NewClient returns a client of the supervisor that listens on the socket. It dials lazily.
func NewClient(socket string) *Client {
	return &Client{http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", socket)
		},
	}}}
}

// Status asks how each process is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return c.do(ctx, http.MethodGet, "/status")
}

// Do asks for what Supervisor.Do does. An end of ctx stops the waiting, not what was begun.
func (c *Client) Do(ctx context.Context, name, verb string, wait time.Duration) (Status, error) {
	return c.do(ctx, http.MethodPost, "/processes/"+url.PathEscape(name)+"/"+verb+"?wait="+wait.String())
}

// Down stops all processes and returns when they are gone. The supervisor ends shortly after.
func (c *Client) Down(ctx context.Context) error {
	_, err := c.do(ctx, http.MethodPost, "/down")
	return err
}

func (c *Client) do(ctx context.Context, method, path string) (Status, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://supervisor"+path, nil)
	if err != nil {
		return Status{}, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return Status{}, fmt.Errorf("asking supervisor: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		var failed failure
		if err := json.NewDecoder(response.Body).Decode(&failed); err != nil {
			return Status{}, fmt.Errorf("reading answer of supervisor: %w", err)
		}
		return Status{}, errors.New(failed.Error)
	}
	var status Status
	if err := json.NewDecoder(response.Body).Decode(&status); err != nil {
		return Status{}, fmt.Errorf("reading answer of supervisor: %w", err)
	}
	return status, nil
}
