package certs

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// cluster is an API server with the authorities' objects, still empty.
func cluster(t *testing.T) *fake.Clientset {
	t.Helper()
	meta := metav1.ObjectMeta{Namespace: names.Namespace, Name: names.Authorities}
	c := fake.NewClientset(&corev1.Secret{ObjectMeta: meta}, &corev1.ConfigMap{ObjectMeta: meta})
	c.PrependReactor("create", "selfsubjectreviews", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, &authenticationv1.SelfSubjectReview{Status: authenticationv1.SelfSubjectReviewStatus{UserInfo: authenticationv1.UserInfo{Username: "boss"}}}, nil
	})
	count := 0
	c.PrependReactor("create", "certificatesigningrequests", func(a clienttesting.Action) (bool, runtime.Object, error) {
		create, ok := a.(clienttesting.CreateAction)
		if !ok {
			return false, nil, nil
		}
		csr, ok := create.GetObject().(*certificatesv1.CertificateSigningRequest)
		if !ok {
			return false, nil, nil
		}
		count++ // the fake makes no names
		csr.Name = fmt.Sprintf("csr-%d", count)
		return true, csr, c.Tracker().Create(a.GetResource(), csr, "")
	})
	return c
}

// sign answers requests as the signer would, without asking who asks: what the fake API server does not know. ended waits for
// its end, which is that of ctx.
func sign(ctx context.Context, t *testing.T, c *fake.Clientset, a *Authority) (ended func()) {
	t.Helper()
	done := make(chan struct{})
	w, err := c.CertificatesV1().CertificateSigningRequests().Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(done)
		defer w.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case event := <-w.ResultChan():
				csr, ok := event.Object.(*certificatesv1.CertificateSigningRequest)
				if !ok || len(csr.Status.Certificate) > 0 {
					continue
				}
				csr = csr.DeepCopy()
				request, err := parseRequest(csr.Spec.Request)
				if err != nil {
					t.Error(err)
					return
				}
				conclude(csr, certificatesv1.CertificateApproved, "Test", "")
				csr.Status.Certificate, err = a.Sign(request.PublicKey, Profile{CommonName: request.Subject.CommonName, Organization: names.NodeAgentGroup, DNSNames: request.DNSNames}, time.Now(), time.Hour)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := c.CertificatesV1().CertificateSigningRequests().UpdateStatus(ctx, csr, metav1.UpdateOptions{}); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		}
	}()
	return func() { <-done }
}

func TestAuthoritiesAreMadeOnceAndPublished(t *testing.T) {
	c, now := cluster(t), time.Now()
	first, err := OpenAuthorities(t.Context(), c, now)
	if err != nil {
		t.Fatal(err)
	}
	second, err := OpenAuthorities(t.Context(), c, now)
	if err != nil {
		t.Fatal(err)
	}
	if !first.Node.certificate.Equal(second.Node.certificate) || !first.Master.certificate.Equal(second.Master.certificate) {
		t.Error("a second start makes other authorities")
	}
	if !first.From.IsZero() || !second.From.IsZero() {
		t.Errorf("the first authorities sign from %s, %s on, not at once", first.From, second.From)
	}
	if first.Node.certificate.Equal(first.Master.certificate) {
		t.Error("nodes and masters have one authority")
	}
	maps := c.CoreV1().ConfigMaps(names.Namespace)
	m, err := maps.Get(t.Context(), names.Authorities, metav1.GetOptions{})
	if err != nil || m.Data[names.NodeAuthorityKey] != string(encode(first.Node.certificate)) || m.Data[names.MasterAuthorityKey] != string(encode(first.Master.certificate)) {
		t.Errorf("published: %v, %v", m.Data, err)
	}
	// New ones do not make what the old ones have signed useless.
	if _, err := c.CoreV1().Secrets(names.Namespace).Update(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: names.Namespace, Name: names.Authorities}}, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	third, err := OpenAuthorities(t.Context(), c, now.Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if wait := third.From.Sub(now); wait < settle || wait > settle+2*time.Second {
		t.Errorf("new authorities sign %s after they have been made, want %s", wait, settle)
	}
	m, err = maps.Get(t.Context(), names.Authorities, metav1.GetOptions{})
	if want := string(encode(third.Node.certificate)) + string(encode(first.Node.certificate)); err != nil || m.Data[names.NodeAuthorityKey] != want {
		t.Errorf("published after a change: %q, want %q, %v", m.Data[names.NodeAuthorityKey], want, err)
	}
}

func TestBrokenAuthorityIsNotReplaced(t *testing.T) {
	c := cluster(t)
	if _, err := OpenAuthorities(t.Context(), c, time.Now()); err != nil {
		t.Fatal(err)
	}
	s, err := c.CoreV1().Secrets(names.Namespace).Get(t.Context(), names.Authorities, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.Data[names.NodeAuthorityPrivateKey] = s.Data[names.MasterAuthorityPrivateKey]
	if _, err := c.CoreV1().Secrets(names.Namespace).Update(t.Context(), s, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAuthorities(t.Context(), c, time.Now()); err == nil {
		t.Error("a key that is another's is used")
	}
}

func TestRequesterKeepsFiles(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, dir := cluster(t), filepath.Join(t.TempDir(), "pki")
	a, err := OpenAuthorities(ctx, c, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	sign(ctx, t, c, a.Node)
	start := func(ctx context.Context) (*Requester, chan struct{}, func()) {
		changed := make(chan struct{}, 100)
		r := NewRequester(c, ForNode(dir, "n1", func() string { return "chassis1" }), func() { changed <- struct{}{} })
		ended := make(chan struct{})
		go func() { defer close(ended); r.Run(ctx) }()
		return r, changed, func() { <-ended }
	}
	r, _, wait := start(ctx)
	<-r.Ready()
	file := filepath.Join(dir, "ovnkube-node.pem")
	pair, err := tls.LoadX509KeyPair(file, file)
	if err != nil || pair.Leaf.Subject.CommonName != "chassis1" {
		t.Fatalf("certificate %v, %v", pair.Leaf, err)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, file: 0o600, filepath.Join(dir, "ca.crt"): 0o644} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s has mode %v, want %v, %v", path, info.Mode(), mode, err)
		}
	}
	trusted, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil || string(trusted) != string(encode(a.Master.certificate)) {
		t.Errorf("a node trusts %s, %v", trusted, err)
	}
	cancel()
	wait()

	// With the API server gone, what is there is good enough.
	stopped, cancel := context.WithCancel(t.Context())
	c.PrependReactor("*", "*", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, os.ErrDeadlineExceeded })
	r, _, wait = start(stopped)
	<-r.Ready()
	cancel()
	wait()
}

func TestCertificateOfAnotherAuthorityIsReplaced(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, dir := cluster(t), t.TempDir()
	a, err := OpenAuthorities(ctx, c, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	wanted := ForNode(dir, "n1", func() string { return "chassis1" })
	before := NewRequester(c, wanted, nil)
	other, err := NewAuthority("other", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	signing, stop := context.WithCancel(ctx)
	ended := sign(signing, t, c, other)
	asking, stopAsking := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); before.Run(asking) }()
	<-before.Ready()
	stop()
	ended()
	stopAsking()
	<-done
	if before.pair().signedBy(encode(a.Node.certificate)) {
		t.Fatal("the test's own certificate is good")
	}
	// The fake takes no notice of field selectors: who waits for a request's answer would find the former one's.
	if err := c.CertificatesV1().CertificateSigningRequests().Delete(ctx, "csr-1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	sign(ctx, t, c, a.Node)
	changed := make(chan struct{}, 100)
	r := NewRequester(c, wanted, func() { changed <- struct{}{} })
	done = make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	for !r.pair().signedBy(encode(a.Node.certificate)) {
		<-changed
	}
	cancel()
	<-done
}
