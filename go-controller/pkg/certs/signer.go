package certs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// Waits between tries of what has failed.
const (
	retryMin = 50 * time.Millisecond
	retryMax = 30 * time.Second
)

// Signer answers the CertificateSigningRequests of names.NodeSigner and names.MasterSigner while it leads.
type Signer struct {
	client   kubernetes.Interface
	validity time.Duration
	nodes    *kube.Mirror[*kube.Node]
	patcher  kube.Patcher
	queue    workqueue.TypedRateLimitingInterface[string]

	mu sync.Mutex
	// waiting are requests of nodes that have not said which chassis they are.
	waiting map[string]bool
}

// NewSigner connects nothing yet. validity is how long certificates last; requests may ask for less.
func NewSigner(client kubernetes.Interface, validity time.Duration) *Signer {
	s := &Signer{
		client: client, validity: validity, nodes: kube.NewNodeMirror(), patcher: kube.NewPatcher(client.CoreV1()), waiting: map[string]bool{},
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](retryMin, retryMax)),
	}
	s.nodes.OnChange(func(string, *kube.Node, *kube.Node) { s.retryWaiting() })
	return s
}

// Run signs until ctx ends; it must be called once. One replica at a time should run it; were there two, the API server would
// take the answer of one.
func (s *Signer) Run(ctx context.Context) error {
	defer s.queue.ShutDown()
	var authorities Authorities
	var self string
	err := untilDone(ctx, "open the certificate authorities", func() (err error) {
		if authorities, err = OpenAuthorities(ctx, s.client, time.Now()); err == nil {
			self, err = s.self(ctx)
		}
		return err
	})
	if err != nil {
		return nil //nolint:nilerr // ctx has ended
	}
	stores := map[string]cache.Store{}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.nodes.Run(ctx, kube.Nodes(s.client.CoreV1())) })
	select {
	case <-s.nodes.Synced():
	case <-ctx.Done():
		return nil
	}
	for _, name := range []string{names.NodeSigner, names.MasterSigner} {
		store, controller := s.requests(name)
		stores[name] = store
		wg.Go(func() { controller.RunWithContext(ctx) })
	}
	context.AfterFunc(ctx, s.queue.ShutDown)
	klog.InfoS("Signing certificates", "validity", s.validity)
	for s.next(ctx, stores, authorities, self) {
	}
	return nil
}

// self is the user name under which the API server knows this process.
func (s *Signer) self(ctx context.Context) (string, error) {
	review, err := s.client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("ask the API server for the own identity: %w", err)
	}
	return review.Status.UserInfo.Username, nil
}

func (s *Signer) requests(signer string) (cache.Store, cache.Controller) {
	source := kube.Selected(s.client, s.client.CertificatesV1().CertificateSigningRequests(), fields.OneTermEqualSelector("spec.signerName", signer).String())
	add := func(obj any) {
		if csr, ok := obj.(*certificatesv1.CertificateSigningRequest); ok && pending(csr) {
			s.queue.Add(csr.Name)
		}
	}
	return cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: source, ObjectType: &certificatesv1.CertificateSigningRequest{},
		Handler: cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, obj any) { add(obj) }},
	})
}

// pending tells whether a request still needs an answer.
func pending(csr *certificatesv1.CertificateSigningRequest) bool {
	return len(csr.Status.Certificate) == 0 && condition(csr, certificatesv1.CertificateDenied) == nil && condition(csr, certificatesv1.CertificateFailed) == nil
}

func condition(csr *certificatesv1.CertificateSigningRequest, kind certificatesv1.RequestConditionType) *certificatesv1.CertificateSigningRequestCondition {
	for i, c := range csr.Status.Conditions {
		if c.Type == kind {
			return &csr.Status.Conditions[i]
		}
	}
	return nil
}

func (s *Signer) retryWaiting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.waiting {
		s.queue.Add(name)
	}
	clear(s.waiting)
}

// next answers one request. It returns false when ctx has ended.
func (s *Signer) next(ctx context.Context, stores map[string]cache.Store, authorities Authorities, self string) bool {
	name, shutdown := s.queue.Get()
	if shutdown {
		return false
	}
	defer s.queue.Done(name)
	for _, store := range stores {
		obj, ok, _ := store.GetByKey(name)
		csr, isCSR := obj.(*certificatesv1.CertificateSigningRequest)
		if !ok || !isCSR || !pending(csr) {
			continue
		}
		err := s.answer(ctx, csr.DeepCopy(), authorities, self)
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) { // what has changed comes again by itself
			klog.ErrorS(err, "Certificate request", "name", name)
			s.queue.AddRateLimited(name)
			return true
		}
	}
	s.queue.Forget(name)
	return true
}

func (s *Signer) answer(ctx context.Context, csr *certificatesv1.CertificateSigningRequest, authorities Authorities, self string) error {
	// Before the nodes are looked at: a change that comes in between must find the request here.
	s.mu.Lock()
	s.waiting[csr.Name] = true
	s.mu.Unlock()
	grant, err := Decide(&csr.Spec, Rules{Nodes: s.nodes.All(), Self: self})
	if errors.Is(err, ErrWait) {
		klog.V(2).InfoS("Certificate request waits", "name", csr.Name, "user", csr.Spec.Username, "reason", err.Error())
		return nil
	}
	s.mu.Lock()
	delete(s.waiting, csr.Name)
	s.mu.Unlock()
	requests := s.client.CertificatesV1().CertificateSigningRequests()
	if err != nil {
		return s.refuse(ctx, csr, err)
	}
	if wait := time.Until(authorities.From); wait > 0 {
		klog.InfoS("Certificate request waits until all hosts know the new certificate authorities", "name", csr.Name, "for", wait.Round(time.Second))
		s.queue.AddAfter(csr.Name, wait)
		return nil
	}
	if err := s.remember(ctx, grant); err != nil {
		return err
	}
	if condition(csr, certificatesv1.CertificateApproved) == nil {
		conclude(csr, certificatesv1.CertificateApproved, "RequesterIsHolder", "the requester is who the certificate will be for")
		if csr, err = requests.UpdateApproval(ctx, csr.Name, csr, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("approve: %w", err)
		}
	}
	authority := authorities.Node
	if csr.Spec.SignerName == names.MasterSigner {
		authority = authorities.Master
	}
	if csr.Status.Certificate, err = authority.Sign(grant.Request.PublicKey, grant.Profile, time.Now(), s.lifetime(csr)); err != nil {
		return err
	}
	if _, err := requests.UpdateStatus(ctx, csr, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("hand out the certificate: %w", err)
	}
	klog.InfoS("Certificate signed", "name", csr.Name, "user", csr.Spec.Username, "commonName", grant.Profile.CommonName)
	return nil
}

// refuse tells the requester why. What somebody has approved can no longer be denied: it has failed.
func (s *Signer) refuse(ctx context.Context, csr *certificatesv1.CertificateSigningRequest, reason error) error {
	klog.InfoS("Certificate denied", "name", csr.Name, "user", csr.Spec.Username, "reason", reason.Error())
	requests := s.client.CertificatesV1().CertificateSigningRequests()
	var err error
	if condition(csr, certificatesv1.CertificateApproved) == nil {
		conclude(csr, certificatesv1.CertificateDenied, "NotAllowed", reason.Error())
		_, err = requests.UpdateApproval(ctx, csr.Name, csr, metav1.UpdateOptions{})
	} else {
		conclude(csr, certificatesv1.CertificateFailed, "NotAllowed", reason.Error())
		_, err = requests.UpdateStatus(ctx, csr, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("refuse: %w", err)
	}
	return nil
}

// remember writes to the Node, before there is a certificate, which chassis it has one for.
func (s *Signer) remember(ctx context.Context, grant Grant) error {
	if grant.Node == nil || hasHad(grant.Node, grant.Profile.CommonName) {
		return nil
	}
	err := s.patcher.PatchNode(ctx, grant.Node.Ref(), map[string]string{names.NodeCertifiedChassisAnnotation: grant.Profile.CommonName})
	if err != nil { // not wrapped: that a Node is not found, or has changed, does not end the request
		return fmt.Errorf("remember the chassis: %s", err.Error())
	}
	return nil
}

func (s *Signer) lifetime(csr *certificatesv1.CertificateSigningRequest) time.Duration {
	if csr.Spec.ExpirationSeconds == nil {
		return s.validity
	}
	return min(s.validity, time.Duration(*csr.Spec.ExpirationSeconds)*time.Second)
}

func conclude(csr *certificatesv1.CertificateSigningRequest, kind certificatesv1.RequestConditionType, reason, message string) {
	csr.Status.Conditions = append(csr.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: message, LastUpdateTime: metav1.Now(),
	})
}
