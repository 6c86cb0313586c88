//go:build integration

package ovndb

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/certs"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
)

// The authorities, and the files with those that servers trust: controlPlane+".crt" the first, nodes+".crt" both.
const (
	controlPlane = "control-plane"
	nodes        = "nodes"
	strangers    = "strangers"
)

// pki are authorities and what they have signed, in one folder.
type pki struct {
	t           *testing.T
	dir         string
	authorities map[string]*certs.Authority
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	p := &pki{t: t, dir: t.TempDir(), authorities: map[string]*certs.Authority{}}
	for _, name := range []string{controlPlane, nodes, strangers} {
		p.authorities[name] = p.authority(name)
	}
	p.trust(controlPlane, p.authorities[controlPlane])
	p.trust(nodes, p.authorities[controlPlane], p.authorities[nodes])
	return p
}

func (p *pki) authority(name string) *certs.Authority {
	p.t.Helper()
	a, err := certs.NewAuthority(name, time.Now())
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

func (p *pki) file(name string) string { return filepath.Join(p.dir, name) }

// trust writes authorities into a bundle.
func (p *pki) trust(bundle string, list ...*certs.Authority) {
	p.t.Helper()
	var all []byte
	for _, a := range list {
		cert, _, err := a.PEM()
		if err != nil {
			p.t.Fatal(err)
		}
		all = append(all, cert...)
	}
	p.replace(p.file(bundle+".crt"), all)
}

// replace puts content into a file at once, as the product does.
func (p *pki) replace(file string, content []byte) {
	p.t.Helper()
	err := os.WriteFile(file+".new", content, 0o600)
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *pki) copy(from, to string) {
	p.t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		p.t.Fatal(err)
	}
	p.replace(to, content)
}

// sign writes a new key and a certificate into one file, and returns its path.
func (p *pki) sign(a *certs.Authority, name string, usages ...x509.ExtKeyUsage) string {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	cert, err := a.Sign(key.Public(), certs.Profile{CommonName: name, Organization: "x", Usages: usages}, time.Now(), time.Hour)
	if err != nil {
		p.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		p.t.Fatal(err)
	}
	p.replace(p.file(name+".pem"), append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), cert...))
	return p.file(name + ".pem")
}

func (p *pki) server(name string) string {
	return p.sign(p.authorities[controlPlane], name, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
}

func (p *pki) node(name string) string {
	return p.sign(p.authorities[nodes], name, x509.ExtKeyUsageClientAuth)
}

func (p *pki) stranger(name string) string {
	return p.sign(p.authorities[strangers], "stranger-"+name, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
}

// files are what who has a pair is given.
func (p *pki) files(pair, bundle string) ovsdb.TLSFiles {
	return ovsdb.TLSFiles{PrivateKey: pair, Certificate: pair, CACertificate: p.file(bundle + ".crt")}
}

// cluster has three members that are up and, where the machine stands still for a while, do not hold an election for that: with the pairs, one for all or one for each, and with the row of northd's in the database.
func (p *pki) cluster(k Kind, pairs ...string) *cluster {
	p.t.Helper()
	c := newCluster(p.t, 3)
	for i := range c.configs {
		c.configs[i].ElectionTimer = 10 * time.Second
		c.configs[i].Kind, c.configs[i].TLS = k, p.files(pairs[i%len(pairs)], controlPlane)
	}
	c.start(0, 1, 2)
	c.ready(0, 1, 2)
	c.eventually("the election timer is raised", func() error {
		s, err := c.status(0)
		if err == nil && s.ElectionTimer != 10*time.Second {
			err = fmt.Errorf("it is %s", s.ElectionTimer)
		}
		return err
	})
	c.tell("ovn-"+k.Short+"ctl", "init")
	return c
}

// relay is one for nodes.
func (p *pki) relay(c *cluster, pair string) *Relay {
	return &Relay{Kind: SB(), RunDir: c.configs[0].RunDir, TLS: p.files(pair, nodes), Listen: "16652:" + c.configs[0].LocalAddress.String()}
}

// opened is how many connections the server behind a control socket has begun.
func (c *cluster) opened(control string) int {
	c.t.Helper()
	n := 0
	c.eventually("the server counts its connections", func() error {
		text, err := Command(c.t.Context(), control, "coverage/show")
		if err != nil {
			return err
		}
		found := regexp.MustCompile(`(?m)^stream_open .* total: (\d+)$`).FindStringSubmatch(text)
		if found == nil {
			return nil // none
		}
		n, err = strconv.Atoi(found[1])
		return err
	})
	return n
}

func atLeast(n, want int) error {
	if n < want {
		return fmt.Errorf("%d, want %d", n, want)
	}
	return nil
}
