package ovndb

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/retry"
)

// Relay is a server that keeps a copy of a database in memory and serves it on: ovsdb(7), "Relay Service Model". Reads and the
// connections of clients are its own, writes are passed to its sources. Where it listens, and what may be done there, is in the
// database (ovn-sb(5), table Connection): clients' rights are checked before a write is passed on, with the relay's own rights.
type Relay struct {
	Kind Kind
	// Sources are the endpoints of the database's members.
	Sources []string
	RunDir  string
	TLS     ovsdb.TLSFiles
	// Listen, PORT or PORT:ADDRESS, makes all relays listen there for nodes: each sees to the row in the southbound database. Empty
	// leaves that to others.
	Listen string
}

// validListen tells whether text is a port and, maybe, an address as Open vSwitch writes them: ovsdb(7), "Connection Methods".
func validListen(text string) bool {
	port, host, hasHost := strings.Cut(text, ":")
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' {
		return false
	}
	if !hasHost {
		return true
	}
	inner, opened := strings.CutPrefix(host, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	a, err := netip.ParseAddr(inner)
	return err == nil && a.Zone() == "" && opened == a.Is6() && closed == a.Is6()
}

// Validate tells what is wrong.
func (r *Relay) Validate() error {
	if len(r.Sources) == 0 {
		return errors.New("a relay needs the endpoints of its sources")
	}
	if err := validateTLS(r.TLS); err != nil {
		return err
	}
	for _, s := range r.Sources {
		if err := ovsdb.ValidateEndpoint(s, r.TLS != (ovsdb.TLSFiles{})); err != nil {
			return err
		}
	}
	if r.Listen == "" {
		return nil
	}
	return r.listener().validate(r.TLS)
}

func (r *Relay) listener() nodesListener {
	return nodesListener{kind: r.Kind, at: r.Listen, socket: r.socket()}
}

func (r *Relay) control() string { return filepath.Join(r.RunDir, "ovn"+r.Kind.Short+"_relay.ctl") }

func (r *Relay) socket() string { return filepath.Join(r.RunDir, "ovn"+r.Kind.Short+"_relay.sock") }

func (r *Relay) args() []string {
	args := []string{"--no-chdir", "--remote=punix:" + r.socket(), r.Kind.connections(),
		"--unixctl=" + r.control(), "-vconsole:info", "-vsyslog:off", "-vfile:off"}
	args = append(args, tlsArgs(r.TLS)...)
	return append(args, fmt.Sprintf("relay:%s:%s", r.Kind.Database, strings.Join(r.Sources, ",")))
}

// Ready is nil when the relay is connected to a source and, with Listen, has its listener.
func (r *Relay) Ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	s, err := ovsdb.Ask(ctx, "unix:"+r.socket(), nil, r.Kind.Database)
	if err == nil && !s.Connected {
		err = fmt.Errorf("the relay of %s is not connected to any of %v", r.Kind.Database, r.Sources)
	}
	if err == nil && r.Listen != "" {
		err = r.listener().listening(ctx)
	}
	return err
}

// Run keeps the relay running until ctx ends, which is no error.
func (r *Relay) Run(ctx context.Context) error {
	if err := os.MkdirAll(r.RunDir, 0o755); err != nil {
		return fmt.Errorf("folder of the sockets: %w", err)
	}
	if r.Listen != "" {
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() { r.listener().keep(ctx) })
	}
	for wait := backoffFirst; ; wait = min(2*wait, backoffLast) {
		began := time.Now()
		p, err := startProcess("ovsdb-server", r.args())
		if err == nil {
			select {
			case <-p.ended:
				err = p.err
			case <-ctx.Done():
				stopServer(context.WithoutCancel(ctx), r.control(), p)
				return nil
			}
		}
		if time.Since(began) > steady {
			wait = backoffFirst
		}
		klog.ErrorS(err, "The relay ended; starting it again", "database", r.Kind.Database, "after", wait)
		if !retry.Sleep(ctx, wait) {
			return nil
		}
	}
}
