package ovndb

import (
	"strings"
	"testing"

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
	} {
		c.relay.Sources = []string{map[bool]string{true: "ssl:192.0.2.1:6642", false: "tcp:192.0.2.1:6642"}[c.relay.TLS != ovsdb.TLSFiles{}]}
		err := c.relay.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.relay, err, c.want)
		}
	}
}
