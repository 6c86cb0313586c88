package names

import (
	"regexp"
	"testing"
)

// Names of groups and sets are used in matches: they must be what OVN's lexer takes for a name.
func TestPolicyNamesAreIdentifiers(t *testing.T) {
	identifier := regexp.MustCompile(`^[a-zA-Z_.][a-zA-Z0-9_.]*$`)
	seen := map[string]bool{}
	for _, key := range []string{"", "ns", "my-ns: app in (a,b)", "{team=ä}: "} {
		for _, name := range []string{
			PolicyPortGroup(key), PeerAddressSet(key, true), PeerAddressSet(key, false), IsolationPortGroup(key, true), IsolationPortGroup(key, false),
		} {
			if !identifier.MatchString(name) || seen[name] {
				t.Errorf("%q for %q is no identifier, or is another's too", name, key)
			}
			seen[name] = true
		}
	}
	if got := PolicyPortGroup("ns: app=web"); got != "np_oav7zikdzcno47xg" {
		t.Errorf("names must be stable over releases: %s", got)
	}
}

// The bands must not overlap.
func TestACLPriorities(t *testing.T) {
	bands := []int{
		32767, ACLServiceSources, ACLAdminFirst, ACLAdminLast, ACLEgressFirewallFirst, ACLEgressFirewallLast, ACLMulticastFirst, ACLMulticastLast,
		ACLPolicyAllow, ACLPolicyDeny, ACLBaselineFirst, ACLBaselineLast,
	}
	for i := 1; i < len(bands); i++ {
		if bands[i] >= bands[i-1] {
			t.Errorf("band %d begins at %d, the one above ends at %d", i, bands[i], bands[i-1])
		}
	}
}
