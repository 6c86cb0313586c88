package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"k8s.io/client-go/util/certificate"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// Modes of files and folders: keys are for root alone.
const (
	dirMode    = 0o700
	secretMode = 0o600
	publicMode = 0o644
)

// pairFile keeps key and certificate in one file. Open vSwitch's daemons notice by the time of change that a file is another
// one; were key and certificate in files of their own, they would meet one without the other.
type pairFile struct {
	path    string
	changed func()
}

var _ certificate.Store = pairFile{}

// Current implements certificate.Store. A file that cannot be used is as good as none. It is read once: it may be replaced between two
// reads, and a key that does not belong to its certificate would pass for a file that cannot be used.
func (f pairFile) Current() (*tls.Certificate, error) {
	var pair tls.Certificate
	data, err := os.ReadFile(f.path)
	if err == nil {
		pair, err = tls.X509KeyPair(data, data)
	}
	if err != nil {
		none := certificate.NoCertKeyError(err.Error())
		return nil, &none
	}
	return &pair, nil
}

// Update implements certificate.Store.
func (f pairFile) Update(certPEM, keyPEM []byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("certificate for %s: %w", f.path, err)
	}
	if err := replace(f.path, append(append([]byte{}, certPEM...), keyPEM...), secretMode); err != nil {
		return nil, err
	}
	f.changed()
	return &pair, nil
}

// replace puts data into a file at once, on disk before the name.
func replace(path string, data []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), dirMode); err != nil {
		return fmt.Errorf("folder for certificates: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // gone, if all went well
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// signedBy tells whether the file has a certificate that one of the authorities in bundle has signed.
func (f pairFile) signedBy(bundle []byte) bool {
	pair, err := f.Current()
	if err != nil {
		return false
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	_, err = pair.Leaf.Verify(x509.VerifyOptions{
		Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, CurrentTime: pair.Leaf.NotAfter,
	})
	return err == nil
}

// Remove removes a node's key and certificate. Those of the control plane, which may have the same folder, stay.
func Remove(dir string) error {
	if err := os.Remove(filepath.Join(dir, names.NodeCertificateFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("certificate of the node: %w", err)
	}
	return nil
}
