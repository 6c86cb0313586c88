package names

import "testing"

// Operators know these by heart; manifests and tools of others contain them.
func TestGatewayNames(t *testing.T) {
	for got, want := range map[string]string{
		GatewayRouter("n1"):        "GR_n1",
		ExternalSwitch("n1"):       "ext_n1",
		ExternalLocalnetPort("n1"): "br-ex_n1",
		RouterToExternalPort("n1"): "rtoe-GR_n1",
		ExternalToRouterPort("n1"): "etor-GR_n1",
		PatchToIntegration("n1"):   "patch-br-ex_n1-to-br-int",
		PatchToExternal("n1"):      "patch-br-int-to-br-ex_n1",

		RouterToJoinPort(GatewayRouter("n1")): "rtoj-GR_n1",
		JoinToRouterPort(GatewayRouter("n1")): "jtor-GR_n1",

		MasqueradeOVN(true).String():          "169.254.169.1",
		MasqueradeHost(true).String():         "169.254.169.2",
		MasqueradeHostLocal(true).String():    "169.254.169.3",
		MasqueradeNextHop(true).String():      "169.254.169.4",
		MasqueradeHairpin(true).String():      "169.254.169.5",
		MasqueradeSubnet(true).String():       "169.254.169.0/29",
		MasqueradeHostAddress(true).String():  "169.254.169.2/30",
		MasqueradeOVN(false).String():         "fd69::1",
		MasqueradeHairpin(false).String():     "fd69::5",
		MasqueradeSubnet(false).String():      "fd69::/125",
		MasqueradeHostAddress(false).String(): "fd69::2/126",
		MasqueradeNextHopMAC().String():       "0a:58:a9:fe:a9:04",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
