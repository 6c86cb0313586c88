package ovsdb

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority signs certificates without names of hosts, as ovs-pki does.
type authority struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	a := authority{key: newKey(t)}
	a.certificate = a.sign(t, a.key, &x509.Certificate{
		Subject: pkix.Name{CommonName: "switch authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a authority) sign(t *testing.T, key *ecdsa.PrivateKey, template *x509.Certificate) *x509.Certificate {
	t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent := a.certificate
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// write puts a new key and certificate, and the authority's certificate, into dir.
func (a authority) write(t *testing.T, dir, name string) TLSFiles {
	t.Helper()
	key := newKey(t)
	c := a.sign(t, key, &x509.Certificate{Subject: pkix.Name{CommonName: name}})
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	f := TLSFiles{filepath.Join(dir, name+"-key.pem"), filepath.Join(dir, name+"-cert.pem"), filepath.Join(dir, name+"-ca.pem")}
	for path, block := range map[string]*pem.Block{
		f.PrivateKey: {Type: "PRIVATE KEY", Bytes: der}, f.Certificate: {Type: "CERTIFICATE", Bytes: c.Raw},
		f.CACertificate: {Type: "CERTIFICATE", Bytes: a.certificate.Raw},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// handshake connects a client with config to a server with the server's files and returns the client's certificate as the
// server saw it.
func handshake(t *testing.T, server TLSFiles, config *tls.Config) (string, error) {
	t.Helper()
	pair, err := server.keyPair()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*pair}, ClientAuth: tls.RequireAnyClientCert})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	seen := make(chan string, 1)
	go func() {
		name := ""
		if theirs, err := listener.Accept(); err == nil {
			defer theirs.Close()
			if s, ok := theirs.(*tls.Conn); ok && s.Handshake() == nil {
				name = s.ConnectionState().PeerCertificates[0].Subject.CommonName
			}
		}
		seen <- name
	}()
	ours, err := net.DialTimeout("tcp", listener.Addr().String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	_ = ours.SetDeadline(time.Now().Add(10 * time.Second))
	c := tls.Client(ours, config)
	if err := c.Handshake(); err != nil {
		return "", err
	}
	return <-seen, nil
}

func TestTLSConfig(t *testing.T) {
	dir := t.TempDir()
	ours, others := newAuthority(t), newAuthority(t)
	server, stranger := ours.write(t, dir, "server"), others.write(t, dir, "stranger")
	client := ours.write(t, dir, "client")
	config, err := TLSConfig(client)
	if err != nil {
		t.Fatal(err)
	}
	if who, err := handshake(t, server, config); err != nil || who != "client" {
		t.Errorf("server of our authority saw %q: %v", who, err)
	}
	if _, err := handshake(t, stranger, config); err == nil {
		t.Error("a server of another authority was accepted")
	}
	// Rotated files are taken up without a restart.
	rotated := others.write(t, t.TempDir(), "rotated")
	for from, to := range map[string]string{
		rotated.PrivateKey: client.PrivateKey, rotated.Certificate: client.Certificate, rotated.CACertificate: client.CACertificate,
	} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if who, err := handshake(t, stranger, config); err != nil || who != "rotated" {
		t.Errorf("after rotation the server saw %q: %v", who, err)
	}
	if _, err := TLSConfig(TLSFiles{"/does/not", "/exist", "/here"}); err == nil {
		t.Error("missing files were accepted")
	}
	if config, err := TLSConfig(TLSFiles{}); config != nil || err != nil {
		t.Errorf("no files: %v %v, want none", config, err)
	}
}
