package ovsdb

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLSFiles are the PEM files of a client or a server.
type TLSFiles struct {
	PrivateKey, Certificate, CACertificate string
}

// TLSConfig authenticates both sides with the given files, which are read again for each connection so that
// rotated certificates are taken up. As with Open vSwitch's own clients the server is known by its certificate authority: its name
// is not checked, because certificates of database servers usually carry none (ovs-pki(8)).
// It is nil when no file is given.
func TLSConfig(files TLSFiles) (*tls.Config, error) {
	if files == (TLSFiles{}) {
		return nil, nil
	}
	if _, err := files.keyPair(); err != nil {
		return nil, err
	}
	if _, err := files.authority(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:           tls.VersionTLS12,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return files.keyPair() },
		// The built-in verification insists on a name; verify does all but that.
		InsecureSkipVerify: true, //nolint:gosec // see above
		VerifyConnection:   files.verify,
	}, nil
}

func (f TLSFiles) keyPair() (*tls.Certificate, error) {
	pair, err := f.load()
	if err != nil {
		return nil, fmt.Errorf("TLS key %q and certificate %q: %w", f.PrivateKey, f.Certificate, err)
	}
	return &pair, nil
}

// load reads a file that has both once: it may be replaced between two reads, which would give the key of one pair and the certificate
// of another.
func (f TLSFiles) load() (tls.Certificate, error) {
	if f.Certificate != f.PrivateKey {
		return tls.LoadX509KeyPair(f.Certificate, f.PrivateKey)
	}
	data, err := os.ReadFile(f.Certificate)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(data, data)
}

func (f TLSFiles) authority() (*x509.CertPool, error) {
	data, err := os.ReadFile(f.CACertificate)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("TLS certificate authority %q has no certificate", f.CACertificate)
	}
	return pool, nil
}

func (f TLSFiles) verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server shows no certificate")
	}
	roots, err := f.authority()
	if err != nil {
		return err
	}
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(c)
	}
	_, err = state.PeerCertificates[0].Verify(options)
	return err
}
