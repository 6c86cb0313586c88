//go:build integration

package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// issue writes a new key and a certificate of the authority for it.
func issue(t *testing.T, a *Authority, file string, p Profile) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certPEM, err := a.Sign(key.Public(), p, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	if _, err := (pairFile{file, func() {}}).Update(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
}

// ask makes one connection and a request on it. The connection stays open until the test ends.
func ask(t *testing.T, address, pair string) (*tls.Conn, error) {
	t.Helper()
	own, err := tls.LoadX509KeyPair(pair, pair)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := (&tls.Dialer{Config: &tls.Config{
		InsecureSkipVerify: true, //nolint:gosec // the server is judged elsewhere
		// Shown whomever the server says it trusts.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil },
	}}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*tls.Conn), echo(c)
}

func echo(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte(`{"method":"echo","params":[],"id":"x"}`)); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1000))
	return err
}

// A database server that is for the control plane alone starts before its certificate is there, refuses nodes, and takes up a renewed
// certificate without ending connections.
func TestServerTakesUpCertificates(t *testing.T) {
	dir := t.TempDir()
	master, err := NewAuthority("master", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	node, err := NewAuthority("node", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	issue(t, master, file("master.pem"), Profile{CommonName: "cp2", Organization: "x", Usages: both})
	issue(t, node, file("node.pem"), Profile{CommonName: "chassis1", Organization: names.NodeAgentGroup, Usages: client})
	address := serve(t, dir, file("server.pem"), file("ca.crt"))

	if _, err := ask(t, address, file("master.pem")); err == nil {
		t.Error("a server without a certificate answers")
	}
	issue(t, master, file("server.pem"), Profile{CommonName: "cp1", Organization: "x", Usages: both})
	if err := replace(file("ca.crt"), encode(master.certificate), publicMode); err != nil {
		t.Fatal(err)
	}
	lasting, err := ask(t, address, file("master.pem"))
	if err != nil {
		t.Fatalf("a master is refused: %v", err)
	}
	if _, err := ask(t, address, file("node.pem")); err == nil {
		t.Error("a node has access to a server of the control plane")
	}
	issue(t, master, file("server.pem"), Profile{CommonName: "renewed", Organization: "x", Usages: both})
	fresh, err := ask(t, address, file("master.pem"))
	if err != nil {
		t.Fatalf("after the renewal: %v", err)
	}
	if name := fresh.ConnectionState().PeerCertificates[0].Subject.CommonName; name != "renewed" {
		t.Errorf("the server shows the certificate of %q", name)
	}
	if err := echo(lasting); err != nil {
		t.Errorf("a connection from before the renewal: %v", err)
	}
}

// serve runs ovsdb-server with the northbound schema on a port of its own choice.
func serve(t *testing.T, dir, pair, ca string) (address string) {
	t.Helper()
	db := filepath.Join(dir, "nb.db")
	if out, err := exec.Command("ovsdb-tool", "create", db, "/usr/share/ovn/ovn-nb.ovsschema").CombinedOutput(); err != nil {
		t.Fatalf("ovsdb-tool: %v: %s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(address)
	cmd := exec.Command("ovsdb-server", db, "--no-chdir", "-vconsole:warn", "--unixctl="+filepath.Join(dir, "ctl"), //nolint:gosec // fixed arguments
		fmt.Sprintf("--remote=pssl:%s:127.0.0.1", port), "--private-key="+pair, "--certificate="+pair, "--ca-cert="+ca)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for range 1000 {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return address
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("ovsdb-server does not listen")
	return ""
}
