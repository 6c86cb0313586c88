//go:build e2e

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"sync"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// testCertificateRequests: the signer gives a node its own certificate and nobody else's.
func testCertificateRequests(e *env) {
	own, other := e.Nodes()[0], e.Nodes()[1]
	client := []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth}
	both := append([]certificatesv1.KeyUsage{certificatesv1.UsageServerAuth}, client...)
	for _, c := range []struct {
		what, machine, component string
		signer, chassis, name    string
		usages                   []certificatesv1.KeyUsage
		signed                   bool
	}{
		{"agent, its own", own, "ovnkube-node", names.NodeSigner, e.systemID(own), own, client, true},
		{"kubelet, its own", own, "kubelet", names.NodeSigner, e.systemID(own), own, client, true},
		{"agent, another's chassis", own, "ovnkube-node", names.NodeSigner, e.systemID(other), own, client, false},
		{"agent, another's name", own, "ovnkube-node", names.NodeSigner, e.systemID(own), other, client, false},
		{"agent, all of another's", own, "ovnkube-node", names.NodeSigner, e.systemID(other), other, client, false},
		{"agent, a server's", own, "ovnkube-node", names.NodeSigner, e.systemID(own), own, both, false},
		{"agent, the control plane's", own, "ovnkube-node", names.MasterSigner, "cp", own, both, false},
		{"administrator, a node's", plan.ControlPlane, "admin", names.NodeSigner, e.systemID(own), own, client, false},
	} {
		requests := e.as(c.machine, c.component).CertificatesV1().CertificateSigningRequests()
		csr, err := requests.Create(e.ctx, &certificatesv1.CertificateSigningRequest{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"},
			Spec:       certificatesv1.CertificateSigningRequestSpec{SignerName: c.signer, Usages: c.usages, Request: e.request(c.chassis, c.name)},
		}, metav1.CreateOptions{})
		if err != nil {
			e.Errorf("%s: %v", c.what, err)
			continue
		}
		e.eventually(func() error {
			csr, err = e.client.CertificatesV1().CertificateSigningRequests().Get(e.ctx, csr.Name, metav1.GetOptions{})
			if err == nil && len(csr.Status.Certificate) == 0 && len(csr.Status.Conditions) == 0 {
				err = fmt.Errorf("%s: no answer to %s", c.what, csr.Name)
			}
			return err
		})
		denied := len(csr.Status.Conditions) == 1 && csr.Status.Conditions[0].Type == certificatesv1.CertificateDenied
		if denied == c.signed {
			e.Errorf("%s: denied %t: %+v", c.what, denied, csr.Status.Conditions)
		}
	}
}

// renewalsAtOnce are as many as the nodes of a large cluster.
const renewalsAtOnce = 500

// testManyRequests: when all nodes of a large cluster ask at the same moment, as after the loss of an authority's key, all have their answers soon.
func testManyRequests(e *env) {
	node := e.Nodes()[0]
	requests := e.as(node, "ovnkube-node").CertificatesV1().CertificateSigningRequests()
	content := e.request(e.systemID(node), node)
	const label = "e2e-renewals"
	e.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), patience)
		defer cancel()
		if err := e.client.CertificatesV1().CertificateSigningRequests().DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: label}); err != nil {
			e.Errorf("delete certificate requests: %v", err)
		}
	})
	signed := e.signedRequests(label)
	began := time.Now()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range renewalsAtOnce / 10 {
				_, err := requests.Create(e.ctx, &certificatesv1.CertificateSigningRequest{
					ObjectMeta: metav1.ObjectMeta{GenerateName: label + "-", Labels: map[string]string{label: ""}},
					Spec: certificatesv1.CertificateSigningRequestSpec{SignerName: names.NodeSigner, Request: content,
						Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth}},
				}, metav1.CreateOptions{})
				if err != nil {
					e.Errorf("request: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	asked := time.Since(began)
	for n := range renewalsAtOnce {
		select {
		case <-signed:
		case <-e.ctx.Done():
			e.Fatal(context.Cause(e.ctx))
		case <-time.After(patience):
			e.Fatalf("%d of %d requests have certificates, and no other one came for %v", n, renewalsAtOnce, patience)
		}
	}
	e.measured("%d certificate requests at once: made within %v, all signed after %v", renewalsAtOnce, asked.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
}

// signedRequests tells of each request with the label, once, that it has its certificate.
func (e *env) signedRequests(label string) <-chan struct{} {
	e.Helper()
	signed := make(chan struct{}, renewalsAtOnce)
	has := func(o any) bool {
		csr, ok := o.(*certificatesv1.CertificateSigningRequest)
		return ok && len(csr.Status.Certificate) > 0
	}
	factory := informers.NewSharedInformerFactoryWithOptions(e.client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = label }))
	requests := factory.Certificates().V1().CertificateSigningRequests().Informer()
	_, err := requests.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) {
			if has(o) {
				signed <- struct{}{}
			}
		},
		UpdateFunc: func(before, now any) {
			if !has(before) && has(now) {
				signed <- struct{}{}
			}
		},
	})
	e.must(err)
	ctx, cancel := context.WithCancel(e.ctx)
	e.Cleanup(func() { cancel(); factory.Shutdown() })
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), requests.HasSynced) {
		e.Fatal(context.Cause(ctx))
	}
	return signed
}

// request is a CertificateSigningRequest's content, with a key that is thrown away.
func (e *env) request(commonName, dnsName string) []byte {
	e.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	e.must(err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: commonName}, DNSNames: []string{dnsName},
	}, key)
	e.must(err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}
