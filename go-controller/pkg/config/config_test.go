package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// load runs a master's command line, environment and file through the whole of loading.
func load(t *testing.T, args, env []string, file string) (*Master, error) {
	t.Helper()
	fs := pflag.NewFlagSet("master", pflag.ContinueOnError)
	c := AddMasterFlags(fs)
	if file != "" {
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config-file", path)
	}
	if err := fs.Parse(args); err != nil {
		return c, err
	}
	if err := Load(fs, env); err != nil {
		return c, err
	}
	return c, c.Validate()
}

func TestPrecedence(t *testing.T) {
	file := "mtu: 1200\ncluster-subnets: [10.0.0.0/16/24, 'fd01::/48/64']\nk8s-service-cidrs: 172.20.0.0/16\n"
	env := []string{"OVNKUBE_MTU=1300", "OVNKUBE_K8S_SERVICE_CIDRS=172.21.0.0/16", "OVNKUBE_MASTER_SERVICE_HOST=172.30.0.9"}
	c, err := load(t, []string{"--k8s-service-cidrs=172.22.0.0/16"}, env, file)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{joinStrings(c.ClusterSubnets), joinStrings(c.ServiceCIDRs)}
	want := []string{"10.0.0.0/16/24,fd01::/48/64", "172.22.0.0/16"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("subnets (-want +got):\n%s", diff)
	}
	if c.MTU != 1300 {
		t.Errorf("MTU %d, want the environment's 1300", c.MTU)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		env  []string
		file string
		want []string // all in the message
	}{
		{name: "unknown key", file: "cluster-subnet: 10.0.0.0/16", want: []string{`"cluster-subnet"`, "cluster-subnets"}},
		{name: "key given twice", file: "mtu: 1400\nmtu: 1300", want: []string{"mtu", "already set"}},
		{name: "bad value in file", file: "mtu: big", want: []string{`"mtu"`, `"big"`}},
		{name: "nested value", file: "mtu: {a: 1}", want: []string{`"mtu"`, "not a string"}},
		{name: "bad value in environment", env: []string{"OVNKUBE_MTU=x"}, want: []string{`OVNKUBE_MTU="x"`}},
		{name: "no CIDR", args: []string{"--cluster-subnets=ten"}, want: []string{"cluster-subnets", `"ten"`, "10.128.0.0/14/23"}},
		{name: "host bits", args: []string{"--cluster-subnets=10.128.3.0/14/23"}, want: []string{"10.128.0.0/14"}},
		{name: "host prefix too long", args: []string{"--cluster-subnets=10.128.0.0/14/30"}, want: []string{"between 14 and 29"}},
		{name: "host prefix too short", args: []string{"--cluster-subnets=fd01::/48/40"}, want: []string{"between 48 and 125"}},
		{name: "no pool", args: []string{"--cluster-subnets="}, want: []string{"--cluster-subnets is empty"}},
		{name: "host prefixes differ", args: []string{"--cluster-subnets=10.128.0.0/14/23,10.0.0.0/16/24,fd01::/48/64"}, want: []string{"10.128.0.0/14/23 and 10.0.0.0/16/24", "same host prefix"}},
		{name: "pools overlap", args: []string{"--cluster-subnets=10.0.0.0/8/24,10.1.0.0/16/24"}, want: []string{"10.0.0.0/8", "overlaps", "10.1.0.0/16"}},
		{name: "services overlap pods", args: []string{"--k8s-service-cidrs=10.129.0.0/16"}, want: []string{"--cluster-subnets 10.128.0.0/14", "--k8s-service-cidrs 10.129.0.0/16"}},
		{name: "join overlaps pods", args: []string{"--gateway-v4-join-subnet=10.128.0.0/16"}, want: []string{"--gateway-v4-join-subnet"}},
		{name: "join of the wrong family", args: []string{"--gateway-v4-join-subnet=fd98::/64"}, want: []string{"family"}},
		{name: "service family without pods", args: []string{"--k8s-service-cidrs=fd02::/112"}, want: []string{"fd02::/112", "no pool"}},
		{name: "two services of a family", args: []string{"--k8s-service-cidrs=172.30.0.0/16,172.31.0.0/16"}, want: []string{"at most one"}},
		{name: "MTU", args: []string{"--mtu=100"}, want: []string{"--mtu 100", "576"}},
		{name: "MTU below IPv6's minimum", args: []string{"--mtu=1200", "--cluster-subnets=fd01::/48/64", "--k8s-service-cidrs=fd02::/112"}, want: []string{"--mtu 1200", "1280"}},
		{name: "endpoint", args: []string{"--nb-address=udp:1.2.3.4:5"}, want: []string{"nb-address", "tcp:ADDRESS:PORT"}},
		{name: "ssl without keys", args: []string{"--nb-address=ssl:1.2.3.4:6641", "--cert-dir="}, want: []string{"--nb-client-privkey", "--cert-dir"}},
		{name: "key without certificate", args: []string{"--nb-address=ssl:1.2.3.4:6641", "--nb-client-privkey=/k"}, want: []string{"--nb-client-cert"}},
		{name: "certificates of minutes", args: []string{"--cert-duration=5m"}, want: []string{"--cert-duration 5m0s", "10m"}},
		{name: "gateway mode", args: []string{"--gateway-mode=host"}, want: []string{"gateway-mode", "shared, local"}},
		{name: "no-SNAT destination", args: []string{"--no-snat-cidrs=192.0.2.1/24"}, want: []string{"no-snat-cidrs", "192.0.2.0/24"}},
		{name: "no-SNAT family without pods", args: []string{"--no-snat-cidrs=2001:db8::/32"}, want: []string{"--no-snat-cidrs 2001:db8::/32", "no pool"}},
		{name: "pods overlap masquerade", args: []string{"--cluster-subnets=169.254.0.0/16/24"}, want: []string{"--cluster-subnets 169.254.0.0/16", "masquerade addresses 169.254.169.0/29"}},
		{name: "join overlaps masquerade", args: []string{"--gateway-v6-join-subnet=fd69::/64"}, want: []string{"masquerade addresses fd69::/125", "--gateway-v6-join-subnet"}},
		{name: "identity", args: []string{"--identity="}, want: []string{"--identity"}},
		{name: "log rate", args: []string{"--acl-logging-rate-limit=0"}, want: []string{"--acl-logging-rate-limit"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(t, c.args, c.env, c.file)
			if err == nil {
				t.Fatal("was accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("message %q lacks %q", err, want)
				}
			}
		})
	}
}

func TestNodeConfiguration(t *testing.T) {
	for args, want := range map[string]string{
		"":                                "--sb-address",
		"--sb-address=tcp:[fd00::1]:6642": "",
		"--sb-address=tcp:1.1.1.1:6642 --encap-port=0":                       "--encap-port 0",
		"--sb-address=tcp:1.1.1.1:6642 --node-name=":                         "--node-name",
		"--sb-address=tcp:1.1.1.1:6642 --ovs-datapath-type=dpdk":             "auto, system, netdev",
		"--sb-address=tcp:1.1.1.1:6642 --encap-ip=300.1.1.1":                 "not an IP address",
		"--sb-address=tcp:1.1.1.1:6642 --netfilter=ipvs":                     "auto, nftables, iptables",
		"--sb-address=tcp:1.1.1.1:6642 --gateway-nexthop=1.1.1.1,x":          `"x" is not an IP address`,
		"--sb-address=tcp:1.1.1.1:6642 --gateway-nexthop=fe80::1":            "--gateway-nexthop fe80::1",
		"--sb-address=tcp:1.1.1.1:6642 --gateway-nexthop=1.1.1.1,1.1.1.2":    "",
		"--sb-address=tcp:1.1.1.1:6642,tcp:1.1.1.2:6642 --encap-ip=fd00::12": "",
		"--sb-address=ssl:1.1.1.1:6642":                                      "",
		"--sb-address=ssl:1.1.1.1:6642 --cert-dir=":                          "--sb-client-privkey",
		"--sb-address=ssl:1.1.1.1:6642 --sb-client-cert=/c":                  "--sb-client-privkey",
	} {
		fs := pflag.NewFlagSet("node", pflag.ContinueOnError)
		c := AddNodeFlags(fs)
		err := fs.Parse(strings.Fields(args))
		if err == nil {
			err = c.Validate()
		}
		if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
	}
}

func TestGatewaySettings(t *testing.T) {
	c, err := load(t, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if c.GatewayMode != "shared" || !c.NodePort || c.NoSNATCIDRs != nil {
		t.Errorf("defaults are mode %q, node ports %t, no SNAT to %v", c.GatewayMode, c.NodePort, c.NoSNATCIDRs)
	}
	file := "gateway-mode: local\nno-snat-cidrs: [192.0.2.0/24, 198.51.100.0/24]\nnodeport: false\n"
	if c, err = load(t, nil, nil, file); err != nil {
		t.Fatal(err)
	}
	if c.GatewayMode != "local" || c.NodePort || joinStrings(c.NoSNATCIDRs) != "192.0.2.0/24,198.51.100.0/24" {
		t.Errorf("read mode %q, node ports %t, no SNAT to %v", c.GatewayMode, c.NodePort, c.NoSNATCIDRs)
	}
}

func FuzzClusterSubnet(f *testing.F) {
	for _, seed := range []string{"10.128.0.0/14/23", "fd01::/48/64", "10.0.0.0/16", "/", "1.2.3.4/32/32"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		subnet, err := parseClusterSubnet(s)
		if err != nil {
			return
		}
		again, err := parseClusterSubnet(subnet.String())
		if err != nil || again != subnet {
			t.Errorf("%q became %v, which became %v (%v)", s, subnet, again, err)
		}
	})
}

func TestManagedCertificates(t *testing.T) {
	for args, want := range map[string]struct {
		managed bool
		key     string
	}{
		"":                                {},
		"--nb-address=ssl:[fd00::1]:6641": {true, "/etc/ovn/pki/ovnkube-master.pem"},
		"--nb-address=ssl:[fd00::1]:6641 --cert-dir=/c":                                                  {true, "/c/ovnkube-master.pem"},
		"--nb-address=ssl:1.1.1.1:6641 --nb-client-privkey=/k --nb-client-cert=/p --nb-client-cacert=/a": {false, "/k"},
	} {
		c, err := load(t, strings.Fields(args), nil, "")
		if err != nil {
			t.Fatal(err)
		}
		if managed := c.Complete(); managed != want.managed || c.Northbound.PrivateKey != want.key {
			t.Errorf("%q: managed %t, key %q, want %+v", args, managed, c.Northbound.PrivateKey, want)
		}
	}
}
