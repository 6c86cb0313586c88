package supervise

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// Gate is something that must be there before a component is started. Exactly
// one member is set.
type Gate struct {
	// Unix is the path of a stream socket that must accept a connection.
	Unix string `json:"unix,omitempty"`
	// TCP is an address and port that must accept a connection.
	TCP string `json:"tcp,omitempty"`
	// HTTPS is a URL that must answer 200. CA is the file with its authority.
	HTTPS string `json:"https,omitempty"`
	CA    string `json:"ca,omitempty"`
	// File is a path that must exist.
	File string `json:"file,omitempty"`
}

// String names the gate for status and logs.
func (g Gate) String() string {
	switch {
	case g.Unix != "":
		return "socket " + g.Unix
	case g.TCP != "":
		return "address " + g.TCP
	case g.HTTPS != "":
		return g.HTTPS
	}
	return "file " + g.File
}

// gateInterval is the time between two tries. Peers that listen send no event
// to those who would like to connect: trying is the only way to know.
const gateInterval = 25 * time.Millisecond

// Wait returns when the gate is open, or with ctx's error.
func (g Gate) Wait(ctx context.Context) error {
	var client *http.Client
	for {
		err := g.try(ctx, &client)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not there: %w", g, err)
		case <-time.After(gateInterval):
		}
	}
}

func (g Gate) try(ctx context.Context, client **http.Client) error {
	switch {
	case g.Unix != "":
		return dialOnce(ctx, "unix", g.Unix)
	case g.TCP != "":
		return dialOnce(ctx, "tcp", g.TCP)
	case g.HTTPS != "":
		if *client == nil {
			c, err := httpsClient(g.CA)
			if err != nil {
				return err
			}
			*client = c
		}
		return getOnce(ctx, *client, g.HTTPS)
	}
	_, err := os.Stat(g.File)
	return err
}

func dialOnce(ctx context.Context, network, address string) error {
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	return conn.Close()
}

func httpsClient(caFile string) (*http.Client, error) {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", caFile)
	}
	return &http.Client{
		Timeout: 2 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		},
	}, nil
}

func getOnce(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}
