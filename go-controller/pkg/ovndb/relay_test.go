package ovndb

import (
	"errors"
	"strings"
	"testing"

	libovsdb "github.com/ovn-org/libovsdb/ovsdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
)

// A listener for nodes must never come about without a role, which only TLS and the southbound database have.
func TestRelayListener(t *testing.T) {
	files := ovsdb.TLSFiles{PrivateKey: "/k", Certificate: "/c", CACertificate: "/a"}
	for _, c := range []struct {
		relay Relay
		want  string
	}{
		{Relay{Kind: SB(), TLS: files, Listen: "16642"}, ""},
		{Relay{Kind: SB(), TLS: files, Listen: "16642:[::]"}, ""},
		{Relay{Kind: SB(), TLS: files, Listen: "16642:192.0.2.1"}, ""},
		{Relay{Kind: SB(), TLS: files, Listen: "192.0.2.1:16642"}, "want PORT"},
		{Relay{Kind: SB(), TLS: files, Listen: "16642:::"}, "want PORT"},
		{Relay{Kind: SB(), TLS: files, Listen: "0"}, "want PORT"},
		{Relay{Kind: NB(), TLS: files, Listen: "16642"}, "southbound"},
		{Relay{Kind: SB(), Listen: "16642"}, "--privkey"},
		{Relay{Kind: SB(), TLS: files, Listen: "65535:[2001:db8::1]"}, ""},
		{Relay{Kind: SB(), TLS: files, Listen: "65536"}, "want PORT"},
		{Relay{Kind: SB(), TLS: files, Listen: "016642"}, "want PORT"},
		{Relay{Kind: SB(), TLS: files, Listen: "+16642"}, "want PORT"},
		{Relay{Kind: SB(), TLS: files, Listen: "16642:"}, "want PORT"},
		{Relay{Kind: SB(), TLS: files, Listen: "16642:192.0.2.300"}, "want PORT"},
		{Relay{Kind: SB(), TLS: files, Listen: "16642:[192.0.2.1]"}, "want PORT"},
		{Relay{Kind: SB(), TLS: files, Listen: "16642:[::"}, "want PORT"},
		{Relay{Kind: SB(), TLS: files, Listen: "16642:[fe80::1%eth0]"}, "want PORT"},
		{Relay{Kind: SB(), TLS: ovsdb.TLSFiles{PrivateKey: "/k", Certificate: "/c"}, Listen: "16642"}, "belong together"},
		{Relay{Kind: NB(), TLS: ovsdb.TLSFiles{PrivateKey: "/k", CACertificate: "/a"}}, "belong together"},
		{Relay{Kind: SB(), TLS: ovsdb.TLSFiles{PrivateKey: "/k", Certificate: "/c", CACertificate: "none"}, Listen: "16642"}, "everybody"},
	} {
		c.relay.Sources = []string{map[bool]string{true: "ssl:192.0.2.1:6642", false: "tcp:192.0.2.1:6642"}[c.relay.TLS != ovsdb.TLSFiles{}]}
		err := c.relay.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.relay, err, c.want)
		}
	}
}

// Relays listen wherever the database says: a row without the nodes' role is a door for everybody, wherever it is.
func TestJudgeListeners(t *testing.T) {
	row := func(target, role string) libovsdb.Row { return libovsdb.Row{"target": target, "role": role} }
	own, other := row("pssl:16642", names.ChassisRole), row("pssl:6642", names.ChassisRole)
	for name, c := range map[string]struct {
		rows           []libovsdb.Row
		missing, wrong bool
	}{
		"as made":                  {[]libovsdb.Row{own}, false, false},
		"two with the role":        {[]libovsdb.Row{other, own}, false, false},
		"none":                     {nil, true, false},
		"another alone":            {[]libovsdb.Row{other}, true, false},
		"own, without the role":    {[]libovsdb.Row{row("pssl:16642", "")}, false, true},
		"another without the role": {[]libovsdb.Row{own, row("pssl:6642", "")}, false, true},
		"left from TCP":            {[]libovsdb.Row{row("ptcp:16642", ""), own}, false, true},
		"of TCP alone":             {[]libovsdb.Row{row("ptcp:16642", "")}, true, true},
	} {
		err := nodesListener{kind: SB(), at: "16642"}.judge(c.rows)
		if errors.Is(err, errNoListener) != c.missing || (err != nil && strings.Contains(err.Error(), "has role")) != c.wrong {
			t.Errorf("%s: %v, want missing %t, wrong %t", name, err, c.missing, c.wrong)
		}
	}
}
