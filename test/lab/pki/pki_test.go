package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
)

func TestIssue(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	if _, err := Open(dir); err != nil {
		t.Fatal(err)
	}
	// A second run must use the same authority, or running components would no
	// longer trust what it issues.
	a, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	ip := netip.MustParseAddr("fd00:172:18::1")
	if err := a.Issue(Request{Name: "server", User: "system:node:node1", Groups: []string{"system:nodes"},
		IPs: []netip.Addr{ip}, DNS: []string{"kubernetes"}}); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	for _, name := range []string{"kubernetes", "fd00:172:18::1"} {
		for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
				t.Errorf("%s, usage %v: %v", name, use, err)
			}
		}
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: "elsewhere"}); err == nil {
		t.Error("valid for a name that was not asked for")
	}
	if diff := cmp.Diff([]string{"system:nodes"}, pair.Leaf.Subject.Organization); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

func TestKubeconfigWorksAnywhere(t *testing.T) {
	a, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Issue(Request{Name: "admin", User: "admin"}); err != nil {
		t.Fatal(err)
	}
	b, err := a.Kubeconfig("admin", "https://[fd00:172:18::1]:6443")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := clientcmd.RESTConfigFromKubeConfig(b)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Host != "https://[fd00:172:18::1]:6443" || cfg.CertFile != "" || len(cfg.CertData) == 0 || len(cfg.CAData) == 0 {
		t.Errorf("host %q, certificate file %q, %d bytes of certificate", cfg.Host, cfg.CertFile, len(cfg.CertData))
	}
}
