package ovndb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/retry"
)

const (
	askTimeout     = 3 * time.Second
	commandTimeout = 5 * time.Second
	// upkeepInterval: a server tells nobody when its cluster changes, it has to be asked.
	upkeepInterval = 2 * time.Second
	backoffFirst   = 200 * time.Millisecond
	backoffLast    = 10 * time.Second
	// steady is how long a server runs that counts as a good one.
	steady = 10 * time.Second
)

// Member runs one member.
type Member struct {
	config  Config
	metrics *metrics
	size    fileSize // belongs to Run's goroutine

	mu  sync.Mutex
	err error // why it cannot serve; nil when it can
}

// MemberOptions are what a member needs besides its configuration.
type MemberOptions struct {
	// Registerer takes the metrics; nil means none.
	Registerer prometheus.Registerer
}

// NewMember prepares a member; nothing happens before Run.
func NewMember(c Config, o MemberOptions) (*Member, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Member{config: c, metrics: newMetrics(o.Registerer, c.Kind), err: errors.New("the server has not been started yet")}, nil
}

// Ready is nil when the member serves its database and, in a cluster, is in touch with a leader.
func (m *Member) Ready() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// Run prepares the file and keeps the server running until ctx ends, which is no error. A file that does not fit the
// configuration is one.
func (m *Member) Run(ctx context.Context) error {
	if err := m.prepare(ctx); err != nil || ctx.Err() != nil {
		return retry.IgnoreEnd(ctx, err)
	}
	if err := os.MkdirAll(m.config.RunDir, 0o755); err != nil {
		return fmt.Errorf("folder of the sockets: %w", err)
	}
	if m.config.Listen != "" {
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() { m.config.listener().keep(ctx) })
	}
	if !m.config.Clustered() {
		return m.supervise(ctx)
	}
	p, err := newProxy(ctx, &m.config)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() { p.run(ctx) })
	defer wg.Wait()
	return m.supervise(ctx)
}

// prepare sees to it that there is a file to start with.
func (m *Member) prepare(ctx context.Context) error {
	last := ""
	for {
		f, err := inspect(ctx, m.config.Path())
		if err != nil {
			return err
		}
		var answers []answer
		if !f.Exists || !f.Clustered && m.config.Clustered() {
			answers = m.askOthers(ctx)
		}
		d, err := decide(&m.config, f, answers)
		if err != nil {
			return err
		}
		if d.action != actionWait {
			klog.InfoS("Database file", "database", m.config.Kind.Database, "path", m.config.Path(), "action", d.action, "cluster", d.clusterID)
			if d.action == actionStart {
				return nil
			}
			return create(ctx, &m.config, d)
		}
		if d.reason != last {
			klog.InfoS("Waiting for the other members", "database", m.config.Kind.Database, "reason", d.reason)
			last = d.reason
			m.note(errors.New(d.reason))
		}
		if !retry.Sleep(ctx, time.Second) {
			return nil
		}
	}
}

// askOthers asks all other members at once for their cluster.
func (m *Member) askOthers(ctx context.Context) []answer {
	config, err := ovsdb.TLSConfig(m.config.TLS)
	others := m.config.others()
	answers := make([]answer, len(others))
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for i, a := range others {
		wg.Go(func() {
			answers[i] = answer{member: a, err: err}
			if err != nil {
				return
			}
			status, err := ovsdb.Ask(ctx, m.config.endpoint(a), config, m.config.Kind.Database)
			answers[i] = answerOf(a, status, err)
		})
	}
	wg.Wait()
	return answers
}

// supervise starts the server again whenever it ends, with a file as prepare wants it: somebody may have put it aside meanwhile.
func (m *Member) supervise(ctx context.Context) error {
	wait := backoffFirst
	for {
		began := time.Now()
		err := m.serve(ctx)
		if ctx.Err() != nil {
			return nil
		}
		m.metrics.restarts.Inc()
		if time.Since(began) > steady {
			wait = backoffFirst
		}
		klog.ErrorS(err, "The database server ended; starting it again", "database", m.config.Kind.Database, "after", wait)
		m.note(fmt.Errorf("the database server ended: %w", err))
		if !retry.Sleep(ctx, wait) {
			return nil
		}
		if err := m.prepare(ctx); err != nil || ctx.Err() != nil {
			return retry.IgnoreEnd(ctx, err)
		}
		wait = min(2*wait, backoffLast)
	}
}

// serve runs the server once. When ctx ends it is asked to end.
func (m *Member) serve(ctx context.Context) error {
	server, err := startProcess("ovsdb-server", m.config.serverArgs())
	if err != nil {
		return err
	}
	ticker := time.NewTicker(upkeepInterval)
	defer ticker.Stop()
	m.upkeep(ctx)
	for {
		select {
		case <-server.ended:
			return server.err
		case <-ctx.Done():
			stopServer(context.WithoutCancel(ctx), m.config.Control(), server)
			return nil
		case <-ticker.C:
			m.upkeep(ctx)
		}
	}
}

// upkeep looks at the member and does what is due.
func (m *Member) upkeep(ctx context.Context) {
	s, err := m.look(ctx)
	m.noteStatus(s, err)
	if err != nil {
		return
	}
	m.size.now = m.fileSize()
	m.metrics.bytes.Set(float64(m.size.now))
	for _, c := range upkeep(&m.config, s, m.size) {
		m.do(ctx, c)
	}
}

func (m *Member) do(ctx context.Context, c command) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	_, err := Command(ctx, m.config.Control(), c.method, c.params...)
	klog.InfoS("Upkeep of the database", "database", m.config.Kind.Database, "command", c.method, "params", c.params, "reason", c.why, "err", err)
	if c.method == compactMethod {
		m.metrics.compactions.Inc()
		m.size.compacted = m.fileSize() // also after an error: what did not work now will not work better every two seconds
	}
}

// fileSize is that of the file, or the last one known when it cannot be seen.
func (m *Member) fileSize() int64 {
	info, err := os.Stat(m.config.Path())
	if err != nil {
		return m.size.now
	}
	return info.Size()
}

func (m *Member) look(ctx context.Context) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	if m.config.Clustered() {
		return ReadStatus(ctx, m.config.Control(), m.config.Kind)
	}
	_, err := Command(ctx, m.config.Control(), "ovsdb-server/list-dbs")
	if err == nil && m.config.Listen != "" {
		err = m.config.listener().listening(ctx)
	}
	return Status{}, err
}

// noteStatus turns a look into readiness.
func (m *Member) noteStatus(s Status, err error) {
	switch {
	case err != nil:
	case !m.config.Clustered():
	case s.Status != "cluster member" && !strings.HasPrefix(s.Status, "disconnected"): // the latter: its elections fail
		err = fmt.Errorf("%s: %s", m.config.Kind.Database, s.Status)
	case s.Status != "cluster member" || s.Leader == "":
		err = fmt.Errorf("%s: the cluster has no leader: more than half of its members must be up", m.config.Kind.Database)
	}
	m.metrics.observe(s, err == nil)
	m.note(err)
}

// note remembers why the member cannot serve, nil when it can.
func (m *Member) note(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if (m.err == nil) != (err == nil) {
		klog.InfoS("The database's state has changed", "database", m.config.Kind.Database, "ready", err == nil, "problem", err)
	}
	m.err = err
}
