package connectivity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/check"
	"github.com/ovnkube/ovnkube/go-controller/pkg/retry"
)

// want is what should become of a connection.
type want int

const (
	// connected: it is made, and for UDP answered.
	connected want = iota
	// reached: it is made, or refused by somebody who is there.
	reached
	// denied: nothing comes back, or a refusal.
	denied
)

// probe is a connection that is tried.
type probe struct {
	from     *corev1.Pod
	to       string // ADDRESS:PORT or NAME:PORT
	protocol string
	data     string // of UDP; empty means the program's own
	want     want
	next     string // what to do if it does not come to what it should
}

// group are probes that make one finding.
type group struct {
	name   string
	probes []probe
	// skip is why there are none.
	skip string
}

// Tries of a connection: how long each waits for an answer, and the pause before the next.
const (
	answer = 2 * time.Second
	pause  = 200 * time.Millisecond
)

// atOnce is how many connections are tried at once.
const atOnce = 8

// all tries groups one after another, the probes of each at once.
func (r *runner) all(ctx context.Context, groups []group) {
	for _, g := range groups {
		if errors.Is(ctx.Err(), context.Canceled) {
			return
		}
		r.add(r.try(ctx, g))
	}
}

func (r *runner) try(ctx context.Context, g group) check.Finding {
	if len(g.probes) == 0 {
		return check.Finding{Check: g.name, State: check.Skip, Detail: g.skip}
	}
	begun := time.Now()
	var failures []string
	var mu sync.Mutex
	f := check.Finding{Check: g.name, State: check.OK}
	var tries errgroup.Group
	tries.SetLimit(atOnce)
	for _, p := range g.probes {
		tries.Go(func() error {
			if why := r.persist(ctx, p); why != "" {
				mu.Lock()
				defer mu.Unlock()
				failures = append(failures, fmt.Sprintf("%s on %s to %s: %s", p.from.Name, p.from.Spec.NodeName, p.to, why))
				f.State, f.Next = check.Fail, p.next
			}
			return nil
		})
	}
	_ = tries.Wait() // The probes' failures are findings.
	f.Took = time.Since(begun)
	f.Detail = fmt.Sprintf("%d of %d", len(g.probes)-len(failures), len(g.probes))
	if len(failures) > 0 {
		f.Detail += ": " + strings.Join(failures[:min(few, len(failures))], "; ")
	}
	return f
}

// persist tries a connection until it comes to what it should, since networks follow changes after a moment. It returns what was wrong last.
func (r *runner) persist(ctx context.Context, p probe) string {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	why := ""
	for {
		got := r.once(ctx, p)
		if got == "" {
			return ""
		}
		if ctx.Err() == nil || why == "" {
			why = got
		}
		if !retry.Sleep(ctx, pause) {
			return why
		}
	}
}

// once tries a connection and returns what is wrong with the outcome.
func (r *runner) once(ctx context.Context, p probe) string {
	argv := []string{"/agnhost", "connect", p.to, "--protocol=" + p.protocol, "--timeout=" + answer.String()}
	if p.data != "" {
		argv = append(argv, "--udp-data="+p.data)
	}
	_, err := r.Exec(ctx, access.Container{Namespace: r.namespace, Pod: p.from.Name, Name: container}, argv...)
	var exit *access.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		return err.Error()
	case p.want == denied && err == nil:
		return "is answered, though the policy denies it"
	case p.want == denied && isOne(exit, "TIMEOUT", "REFUSED"), p.want == connected && err == nil,
		p.want == reached && (err == nil || isOne(exit, "REFUSED")):
		return ""
	}
	return said(exit)
}

// isOne tells whether a connection has ended in one of some ways, which agnhost says first.
func isOne(exit *access.ExitError, words ...string) bool {
	for _, w := range words {
		if strings.HasPrefix(strings.TrimSpace(exit.Message), w) {
			return true
		}
	}
	return false
}

func said(exit *access.ExitError) string {
	switch m := strings.TrimSpace(exit.Message); {
	case strings.HasPrefix(m, "TIMEOUT"):
		return "no answer"
	case strings.HasPrefix(m, "REFUSED"):
		return "refused"
	default:
		return strings.TrimSpace(fmt.Sprintf("exit code %d %s", exit.Code, m))
	}
}
