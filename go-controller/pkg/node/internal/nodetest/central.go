//go:build integration

package nodetest

import (
	"strings"
	"testing"
	"time"
)

// SouthboundRemote is where the node finds the southbound database: in the peer's namespace.
const SouthboundRemote = "tcp:" + PeerV4 + ":6642"

const central = "ip netns exec " + Peer + " "

// StartCentral runs OVN's databases and northd in the peer's namespace.
func StartCentral(t *testing.T) {
	t.Helper()
	for db, port := range map[string]string{"nb": "6641", "sb": "6642"} {
		file := "/run/ovn/" + db + ".db"
		Run(t, "ovsdb-tool create "+file+" /usr/share/ovn/ovn-"+db+".ovsschema")
		Start(t, central+"ovsdb-server "+file+" --no-chdir -vconsole:warn --unixctl=/run/ovn/"+db+".ctl"+
			" --remote=punix:/run/ovn/"+db+".sock --remote=ptcp:"+port+":[::]")
	}
	Eventually(t, 5*time.Second, func() error {
		_, err := Try("ovn-nbctl --no-wait --db=unix:/run/ovn/nb.sock init")
		return err
	})
	Start(t, central+"ovn-northd --no-chdir -vconsole:warn --unixctl=/run/ovn/northd.ctl --ovnnb-db=unix:/run/ovn/nb.sock --ovnsb-db=unix:/run/ovn/sb.sock")
}

// NB changes the northbound database with ovn-nbctl's commands, one a string; ~ stands for a blank in an argument.
func NB(t *testing.T, commands ...string) {
	t.Helper()
	Run(t, "ovn-nbctl --db=unix:/run/ovn/nb.sock "+strings.Join(commands, " -- "))
}

// StartController runs ovn-controller on the host.
func StartController(t *testing.T) *Process {
	t.Helper()
	// OVN 23.03's may fail with a segmentation fault when it starts before ovn-northd has filled the southbound database. On
	// a node somebody starts it again.
	p := &Process{
		argv: strings.Fields("ovn-controller unix:/var/run/openvswitch/db.sock --no-chdir --pidfile -vconsole:info"),
		done: make(chan struct{}), again: true,
	}
	p.begin(t)
	return p
}
