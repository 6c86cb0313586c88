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
	return &Pinger{Start(t, "ip netns exec "+Peer+" ping -n -i 0.01 -W 1 "+address)}
}

// Loss is what a Pinger has counted, up to the last answer: what was under way at the end is not lost.
type Loss struct{ Sent, Received, Duplicates int }

// Lost is the number of requests without an answer.
func (l Loss) Lost() int { return l.Sent - l.Received }

var answer = regexp.MustCompile(`icmp_seq=(\d+) .*?(DUP!)?\)?\n`)

// Stop ends the pinging and returns the count.
func (p *Pinger) Stop(t *testing.T) Loss {
	t.Helper()
	p.process.Signal(t, os.Interrupt)
	var l Loss
	for _, m := range answer.FindAllStringSubmatch(p.process.Log(), -1) {
		if m[2] != "" {
			l.Duplicates++
			continue
		}
		number, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		l.Received++
		l.Sent = max(l.Sent, number)
	}
	if l.Received == 0 {
		t.Fatalf("nothing was answered: %s", tail(p.process.Log(), 500))
	}
	return l
}
