package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

const (
	// authorityValidity is how long an authority lasts.
	authorityValidity = 10 * 365 * 24 * time.Hour
	// backdate is subtracted from the beginning, for hosts whose clocks are late.
	backdate = 5 * time.Minute
)

// Authority signs certificates.
type Authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// Profile is what a certificate says of its holder.
type Profile struct {
	CommonName   string
	Organization string
	DNSNames     []string
	Usages       []x509.ExtKeyUsage
}

// NewAuthority makes a key and a certificate that it signs itself.
func NewAuthority(name string, now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("key of %s: %w", name, err)
	}
	a := &Authority{key: key}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: fmt.Sprintf("%s@%d", name, now.Unix())},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(authorityValidity),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	a.certificate, err = a.create(template, template, &key.PublicKey)
	return a, err
}

// ParseAuthority reads an authority from PEM.
func ParseAuthority(certPEM, keyPEM []byte) (*Authority, error) {
	certificates, err := cert.ParseCertsPEM(certPEM)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	parsed, err := keyutil.ParsePrivateKeyPEM(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("key of the certificate authority: %w", err)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("key of the certificate authority: %T cannot sign", parsed)
	}
	public, ok := certificates[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(key.Public()) {
		return nil, errors.New("certificate and key of the certificate authority do not belong together")
	}
	return &Authority{certificate: certificates[0], key: key}, nil
}

// made is when the authority was made.
func (a *Authority) made() time.Time { return a.certificate.NotBefore.Add(backdate) }

// PEM returns the authority's certificate and key.
func (a *Authority) PEM() (certPEM, keyPEM []byte, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("key of the certificate authority: %w", err)
	}
	return encode(a.certificate), pem.EncodeToMemory(&pem.Block{Type: keyutil.PrivateKeyBlockType, Bytes: der}), nil
}

// Sign makes a certificate for a public key. It never outlasts the authority.
func (a *Authority) Sign(public crypto.PublicKey, p Profile, now time.Time, validity time.Duration) ([]byte, error) {
	end := now.Add(validity)
	if end.After(a.certificate.NotAfter) {
		end = a.certificate.NotAfter
	}
	if !end.After(now) {
		return nil, fmt.Errorf("the certificate authority has expired on %s", a.certificate.NotAfter)
	}
	c, err := a.create(&x509.Certificate{
		Subject:   pkix.Name{CommonName: p.CommonName, Organization: []string{p.Organization}},
		NotBefore: now.Add(-backdate), NotAfter: end, DNSNames: p.DNSNames,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: p.Usages,
	}, a.certificate, public)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate for %s: %w", p.CommonName, err)
	}
	return encode(c), nil
}

// serialBits is the size of serial numbers; RFC 5280, section 4.1.2.2, allows 20 octets.
const serialBits = 127

func (a *Authority) create(template, parent *x509.Certificate, public crypto.PublicKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, a.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func encode(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: c.Raw})
}
