//go:build e2e

package e2e

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
)

func (c policyLab) echo(from traffic.Place, proto string, at netip.AddrPort, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(c.ctx, limit)
	defer cancel()
	return traffic.EchoOnce(ctx, from, proto, at, 8)
}

// trafficRounds is how often underTraffic is repeated: OVNKUBE_POLICY_ROUNDS, or once.
func trafficRounds() int {
	n, err := strconv.Atoi(os.Getenv("OVNKUBE_POLICY_ROUNDS"))
	if err != nil {
		return 1
	}
	return max(1, n)
}

// underTraffic: what is allowed all the time is never interrupted, whatever else the policies begin and cease to allow. How long an answer takes is
// the machine's affair: a connection whose first packet was dropped begins a second later, which the log tells.
func (c policyLab) underTraffic() {
	rounds := trafficRounds()
	if rounds > 1 { // The scenario's time is for one.
		ctx, cancel := context.WithTimeout(run.context(c.T), time.Duration(rounds)*20*time.Second)
		defer cancel()
		c.ctx = ctx
	}
	defer c.logDrops()()
	for range rounds {
		for _, is4 := range c.families() {
			c.changeUnderTraffic(is4)
		}
	}
}

func (c policyLab) changeUnderTraffic(is4 bool) {
	from, to := c.ends[3], c.ends[0] // The client of the other namespace, and the first of web's pods.
	const allow = `{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: red}}}], ports: [{port: 80}, {port: 80, protocol: UDP}]}]}`
	at := port(to.Address(is4), 80)
	for _, proto := range []string{tcp, udp} { // Nothing may be left of what a former part forbade: the datapath revises flow by flow.
		c.mustEcho(from.Place, proto, at)
	}
	losses := c.watchLosses(from.Place, to.Place, at)
	datagrams, err := traffic.Datagrams(c.ctx, from.Place, at, 5*time.Millisecond)
	c.must(err)
	connects, err := traffic.Connects(c.ctx, from.Place, at, 25*time.Millisecond)
	c.must(err)
	for _, specs := range [][]string{
		{allow},
		{allow, `{podSelector: {}, policyTypes: [Ingress]}`},
		{allow, `{podSelector: {}, policyTypes: [Ingress]}`, `{podSelector: {}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}]}]}`},
		{`{podSelector: {}, ingress: [{}]}`, allow},
		{`{podSelector: {}, ingress: [{}]}`},
		{},
	} {
		c.apply(c.policiesOf(specs...)...)
		time.Sleep(300 * time.Millisecond) // Each for some packets.
	}
	for _, p := range []*traffic.Probe{datagrams, connects} {
		losses.judge(p.Stop())
	}
}

// established: a connection that a new policy forbids is cut, not only new ones, and goes on when the policy is gone before its ends
// have given up.
func (c policyLab) established() {
	from, to := c.ends[3], c.ends[0]
	for _, is4 := range c.families() {
		at := port(to.Address(is4), 80)
		c.mustEcho(from.Place, tcp, at)
		conn, err := from.Dial(c.ctx, tcp, at)
		c.must(err)
		alive := func(limit time.Duration) error { return say(conn, limit) }
		if err := alive(2 * time.Second); err != nil {
			c.Errorf("an established connection: %v", err)
		}
		began := time.Now()
		c.apply(c.policiesOf(`{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}`)...)
		cut := c.settled(func() error {
			if alive(300*time.Millisecond) == nil {
				return errors.New("it goes on")
			}
			return nil
		})
		c.measured("an established connection was cut %v after its policy had been created (%v of waiting for an answer included)",
			time.Since(began).Round(time.Millisecond), 300*time.Millisecond)
		c.apply()
		resumed := c.settled(func() error { return alive(time.Second) })
		c.measured("cut after %v, resumed %v after the policy had been deleted", cut.Round(time.Millisecond), resumed.Round(time.Millisecond))
		_ = conn.Close()
	}
}

// say sends a number on a connection to an echo server and waits for it, passing over answers to former ones.
func say(conn net.Conn, limit time.Duration) error {
	number := uint64(time.Now().UnixNano())
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := conn.Write(binary.BigEndian.AppendUint64(nil, number)); err != nil {
		return err
	}
	for {
		var b [8]byte
		if _, err := io.ReadFull(conn, b[:]); err != nil {
			return fmt.Errorf("no answer within %v: %w", limit, err)
		}
		if binary.BigEndian.Uint64(b[:]) == number {
			return nil
		}
	}
}
