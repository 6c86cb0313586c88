//go:build integration

package nodetest

import (
	"os"
	"regexp"
	"strconv"
	"testing"
)

// Pinger pings the host from its peer all the time.
type Pinger struct{ process *Process }

// PingHost starts pinging address from the peer, 100 times a second.
func PingHost(t *testing.T, address string) *Pinger {
	t.Helper()
	return &Pinger{Start(t, "ip netns exec "+Peer+" ping -q -n -i 0.01 -W 1 "+address)}
}

// Loss is what a Pinger has counted.
type Loss struct{ Sent, Received, Duplicates int }

// Lost is the number of requests without an answer.
func (l Loss) Lost() int { return l.Sent - l.Received }

var summary = regexp.MustCompile(`(\d+) packets transmitted, (\d+) received(?:, \+(\d+) duplicates)?`)

// Stop ends the pinging and returns the count.
func (p *Pinger) Stop(t *testing.T) Loss {
	t.Helper()
	p.process.Signal(t, os.Interrupt)
	m := summary.FindStringSubmatch(p.process.Log())
	if m == nil {
		t.Fatalf("ping said nothing: %s", tail(p.process.Log(), 500))
	}
	number := func(s string) int { n, _ := strconv.Atoi(s); return n }
	return Loss{Sent: number(m[1]), Received: number(m[2]), Duplicates: number(m[3])}
}
