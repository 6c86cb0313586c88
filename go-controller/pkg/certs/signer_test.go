package certs

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// patches are what was written to Nodes.
type patches struct {
	kube.Patcher
	err  error
	made []map[string]string
}

func (p *patches) PatchNode(_ context.Context, _ kube.Ref, annotations map[string]string) error {
	p.made = append(p.made, annotations)
	return p.err
}

// signing is a Signer that knows node n1 with chassis1.
func signing(t *testing.T) (*Signer, *fake.Clientset, *patches, Authorities) {
	t.Helper()
	c, written := cluster(t), &patches{}
	a, err := OpenAuthorities(t.Context(), c, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := NewSigner(c, time.Hour)
	s.patcher = written
	s.nodes.Put(node("n1", "chassis1", 1))
	return s, c, written, a
}

// request is one by n1, as the API server has it.
func request(t *testing.T, c *fake.Clientset, change func(*certificatesv1.CertificateSigningRequest)) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	a := honest()
	csr := &certificatesv1.CertificateSigningRequest{Spec: a.spec}
	csr.Spec.Request = encodeRequest(t, &a.template)
	change(csr)
	csr, err := c.CertificatesV1().CertificateSigningRequests().Create(t.Context(), csr, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func answered(t *testing.T, c *fake.Clientset, name string) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	csr, err := c.CertificatesV1().CertificateSigningRequests().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

// A certificate is not handed out before the Node has it written that the chassis is its own.
func TestCertificateIsRememberedBeforeItIsSigned(t *testing.T) {
	s, c, written, a := signing(t)
	csr := request(t, c, func(*certificatesv1.CertificateSigningRequest) {})
	written.err = errors.New("no")
	if err := s.answer(t.Context(), csr.DeepCopy(), a, "boss"); err == nil || !pending(answered(t, c, csr.Name)) {
		t.Errorf("signed what could not be remembered, error %v", err)
	}
	written.err = nil
	if err := s.answer(t.Context(), csr.DeepCopy(), a, "boss"); err != nil || len(answered(t, c, csr.Name).Status.Certificate) == 0 {
		t.Errorf("no certificate, error %v", err)
	}
	if len(written.made) != 2 || written.made[1][names.NodeCertifiedChassisAnnotation] != "chassis1" {
		t.Errorf("written to the Node: %v", written.made)
	}
}

// The API server takes no denial of what somebody has approved.
func TestRefusalOfAnApprovedRequest(t *testing.T) {
	for approved, want := range map[bool]certificatesv1.RequestConditionType{
		false: certificatesv1.CertificateDenied, true: certificatesv1.CertificateFailed,
	} {
		s, c, _, a := signing(t)
		csr := request(t, c, func(csr *certificatesv1.CertificateSigningRequest) {
			csr.Spec.Groups = nil
			if approved {
				conclude(csr, certificatesv1.CertificateApproved, "Test", "")
			}
		})
		if err := s.answer(t.Context(), csr.DeepCopy(), a, "boss"); err != nil {
			t.Fatal(err)
		}
		var through []string
		for _, action := range c.Actions() {
			if action.Matches("update", "certificatesigningrequests") {
				through = append(through, action.GetSubresource())
			}
		}
		path := map[bool]string{false: "approval", true: "status"}[approved]
		if condition(answered(t, c, csr.Name), want) == nil || !slices.Equal(through, []string{path}) {
			t.Errorf("approved before %t: %+v through %v, want %s through %s", approved, answered(t, c, csr.Name).Status.Conditions, through, want, path)
		}
	}
}

// While hosts may not know a new authority yet, its certificates would be refused.
func TestNewAuthoritiesSignWhenTheyAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, _, a := signing(t)
		defer s.queue.ShutDown()
		csr := request(t, c, func(*certificatesv1.CertificateSigningRequest) {})
		a.From = time.Now().Add(time.Minute)
		if err := s.answer(t.Context(), csr.DeepCopy(), a, "boss"); err != nil || !pending(answered(t, c, csr.Name)) {
			t.Fatalf("signed before its time, error %v", err)
		}
		name, _ := s.queue.Get() // in a minute
		if time.Now().Before(a.From) || name != csr.Name {
			t.Errorf("%q comes again at %s, want %q at %s", name, time.Now(), csr.Name, a.From)
		}
		if err := s.answer(t.Context(), csr.DeepCopy(), a, "boss"); err != nil || pending(answered(t, c, csr.Name)) {
			t.Errorf("no certificate, error %v", err)
		}
	})
}
