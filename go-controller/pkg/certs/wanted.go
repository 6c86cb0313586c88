package certs

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"path/filepath"

	certificatesv1 "k8s.io/api/certificates/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// ForNode is what a node agent asks for: OVN's access rules know a chassis by the certificate's common name. chassis returns its
// name, or nothing while it is not known.
func ForNode(dir, node string, chassis func() string) Wanted {
	return Wanted{
		Signer: names.NodeSigner,
		Template: func() *x509.CertificateRequest {
			name := chassis()
			if name == "" {
				return nil
			}
			return &x509.CertificateRequest{
				Subject:  pkix.Name{CommonName: name, Organization: []string{names.NodeAgentGroup}},
				DNSNames: []string{node},
			}
		},
		Usages:  []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth},
		File:    filepath.Join(dir, names.NodeCertificateFile),
		Issuer:  names.NodeAuthorityKey,
		Bundles: map[string][]string{filepath.Join(dir, names.ServerCAFile): {names.MasterAuthorityKey}},
	}
}

// ForMaster is what a host of the control plane asks for, for all that runs there: masters, ovn-northd, database servers. Masters of one
// host share it, whatever they are called.
func ForMaster(dir, host string) Wanted {
	return Wanted{
		Signer: names.MasterSigner,
		Template: func() *x509.CertificateRequest {
			return &x509.CertificateRequest{Subject: pkix.Name{CommonName: host}}
		},
		Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth, certificatesv1.UsageClientAuth},
		File:   filepath.Join(dir, names.MasterCertificateFile),
		Issuer: names.MasterAuthorityKey,
		Bundles: map[string][]string{
			filepath.Join(dir, names.ServerCAFile): {names.MasterAuthorityKey},
			filepath.Join(dir, names.ClientCAFile): {names.MasterAuthorityKey, names.NodeAuthorityKey},
		},
	}
}
