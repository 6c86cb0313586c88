package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	certificatesv1 "k8s.io/api/certificates/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// asked is a request by an honest agent of n1, before a test changes something.
type asked struct {
	template x509.CertificateRequest
	spec     certificatesv1.CertificateSigningRequestSpec
	nodes    []*kube.Node
}

func honest() asked {
	return asked{
		template: x509.CertificateRequest{Subject: pkix.Name{CommonName: "chassis1"}, DNSNames: []string{"n1"}},
		spec: certificatesv1.CertificateSigningRequestSpec{
			SignerName: names.NodeSigner, Username: "system:ovn-node:n1", Groups: []string{"system:ovn-nodes", "system:authenticated"},
			Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth},
		},
		nodes: []*kube.Node{node("n1", "chassis1", 2), node("n2", "chassis2", 1)},
	}
}

func node(name, chassis string, created int64) *kube.Node {
	n := &kube.Node{Name: name, Created: time.Unix(created, 0), Annotations: map[string]string{}}
	if chassis != "" {
		n.Annotations[names.NodeChassisIDAnnotation] = chassis
	}
	return n
}

func certified(n *kube.Node, chassis string) *kube.Node {
	n.Annotations[names.NodeCertifiedChassisAnnotation] = chassis
	return n
}

func encodeRequest(t testing.TB, template *x509.CertificateRequest) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func token(a *asked, node ...string) {
	a.spec.Username, a.spec.Groups = "system:serviceaccount:ovn-kubernetes:ovnkube-node", []string{"system:serviceaccounts"}
	a.spec.Extra = map[string]certificatesv1.ExtraValue{"authentication.kubernetes.io/node-name": node}
}

func master(a *asked) {
	a.spec.SignerName, a.spec.Username, a.spec.Groups = names.MasterSigner, "boss", nil
	a.spec.Usages = append(a.spec.Usages, certificatesv1.UsageServerAuth)
	a.template.Subject.CommonName = "cp"
}

func TestWhoGetsWhichCertificate(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(a *asked)
		refuse string // in the message; empty means granted
		wait   bool
	}{
		{name: "agent with a certificate", change: func(*asked) {}},
		{name: "kubelet", change: func(a *asked) { a.spec.Username, a.spec.Groups = "system:node:n1", []string{"system:nodes"} }},
		{name: "agent with a token", change: func(a *asked) { token(a, "n1") }},
		{name: "token of another node", change: func(a *asked) { token(a, "n2") }, refuse: `"n2"`},
		{name: "token that is not bound", change: func(a *asked) { token(a) }, refuse: "not bound"},
		{name: "token of two nodes", change: func(a *asked) { token(a, "n1", "n2") }, refuse: "not bound"},
		{name: "user that only has the name", change: func(a *asked) { a.spec.Groups = []string{"system:authenticated"} }, refuse: "no node"},
		{name: "kubelet's name, agents' group", change: func(a *asked) { a.spec.Username = "system:node:n1" }, refuse: "no node"},
		{name: "other service account", change: func(a *asked) {
			token(a, "n1")
			a.spec.Username = "system:serviceaccount:default:ovnkube-node"
		}, refuse: "no node"},
		{name: "another node's chassis", change: func(a *asked) { a.template.Subject.CommonName = "chassis2" }, refuse: `"chassis2" is not the chassis of node n1`},
		{name: "another node's name", change: func(a *asked) { a.template.DNSNames = []string{"n2"} }, refuse: "names"},
		{name: "another name besides", change: func(a *asked) { a.template.DNSNames = []string{"n1", "n2"} }, refuse: "names"},
		{name: "no name", change: func(a *asked) { a.template.DNSNames = nil }, refuse: "names"},
		{name: "an address", change: func(a *asked) { a.template.IPAddresses = []net.IP{{192, 0, 2, 1}} }, refuse: "addresses"},
		{name: "server usage", change: func(a *asked) { a.spec.Usages = append(a.spec.Usages, certificatesv1.UsageServerAuth) }, refuse: `"server auth" is not allowed`},
		{name: "signing usage", change: func(a *asked) { a.spec.Usages = append(a.spec.Usages, certificatesv1.UsageCertSign) }, refuse: `"cert sign"`},
		{name: "no client usage", change: func(a *asked) { a.spec.Usages = a.spec.Usages[:1] }, refuse: "missing"},
		{name: "no Node yet", change: func(a *asked) { a.nodes = nil }, wait: true},
		{name: "no chassis yet", change: func(a *asked) { a.nodes = []*kube.Node{node("n1", "", 1)} }, wait: true},
		{name: "the chassis it has had before, which an older node claims", change: func(a *asked) {
			a.nodes = []*kube.Node{certified(node("n1", "chassis1", 2), "chassis1"), node("n2", "chassis1", 1)}
		}},
		{name: "a chassis that a younger node has had before", change: func(a *asked) {
			a.nodes[1] = certified(node("n2", "chassis1", 3), "chassis1")
		}, refuse: "that of node n2"},
		{name: "a chassis that a node has had which says another one now", change: func(a *asked) {
			a.nodes[1] = certified(node("n2", "chassis2", 1), "chassis1")
		}, refuse: "that of node n2"},
		{name: "another chassis than before", change: func(a *asked) { certified(a.nodes[0], "chassis0") }},
		{name: "a chassis that two claim", change: func(a *asked) { a.nodes[1] = node("n2", "chassis1", 3) }, refuse: "n1 and n2 both"},
		{name: "other signer", change: func(a *asked) { a.spec.SignerName = "example.com/x" }, refuse: "another's"},
		{name: "master", change: master},
		{name: "agent in the master's place", change: func(a *asked) { master(a); a.spec.Username = "system:ovn-node:n1" }, refuse: `not "boss"`},
		{name: "master on a host whose name a node says is its chassis", change: func(a *asked) { master(a); a.template.Subject.CommonName = "chassis2" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := honest()
			c.change(&a)
			a.spec.Request = encodeRequest(t, &a.template)
			grant, err := Decide(&a.spec, Rules{Nodes: a.nodes, Self: "boss"})
			switch {
			case c.wait:
				if !errors.Is(err, ErrWait) {
					t.Errorf("got %v, want to wait", err)
				}
			case c.refuse != "":
				if err == nil || errors.Is(err, ErrWait) || !strings.Contains(err.Error(), c.refuse) {
					t.Errorf("got %v, want a refusal with %q", err, c.refuse)
				}
			case err != nil:
				t.Errorf("refused: %v", err)
			case grant.Profile.CommonName != a.template.Subject.CommonName:
				t.Errorf("granted to %q, asked for %q", grant.Profile.CommonName, a.template.Subject.CommonName)
			}
		})
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	a := honest()
	good := encodeRequest(t, &a.template)
	broken := append([]byte{}, good...)
	block, _ := pem.Decode(good)
	block.Bytes[len(block.Bytes)-1] ^= 1
	for name, data := range map[string][]byte{
		"nothing": nil, "text": []byte("hello"), "cut off": broken[:len(broken)/2], "wrong signature": pem.EncodeToMemory(block),
		"another type": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes}),
	} {
		a.spec.Request = data
		if _, err := Decide(&a.spec, Rules{Nodes: a.nodes}); err == nil {
			t.Errorf("%s: granted", name)
		}
	}
}

func TestSignedCertificateSaysWhatWasGrantedOnly(t *testing.T) {
	now := time.Now()
	a := honest()
	a.template.Subject.Organization = []string{"system:masters"}
	a.spec.Request = encodeRequest(t, &a.template)
	grant, err := Decide(&a.spec, Rules{Nodes: a.nodes})
	if err != nil {
		t.Fatal(err)
	}
	authority, err := NewAuthority("test", now)
	if err != nil {
		t.Fatal(err)
	}
	data, err := authority.Sign(grant.Request.PublicKey, grant.Profile, now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"system:ovn-nodes"}, c.Subject.Organization); diff != "" {
		t.Errorf("organizations (-want +got):\n%s", diff)
	}
	if c.IsCA || c.NotAfter.Sub(now) > time.Hour {
		t.Errorf("authority %t, until %s", c.IsCA, c.NotAfter)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority.certificate)
	for usage, want := range map[x509.ExtKeyUsage]bool{x509.ExtKeyUsageClientAuth: true, x509.ExtKeyUsageServerAuth: false} {
		if _, err := c.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}}); (err == nil) != want {
			t.Errorf("usage %d: %v", usage, err)
		}
	}
	if _, err := authority.Sign(grant.Request.PublicKey, grant.Profile, now.Add(11*365*24*time.Hour), time.Hour); err == nil {
		t.Error("an authority that has expired signs")
	}
}
