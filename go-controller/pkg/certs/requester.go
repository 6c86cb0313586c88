package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/certificate"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// Wanted is the certificate that a Requester keeps.
type Wanted struct {
	// Signer is names.NodeSigner or names.MasterSigner.
	Signer string
	// Template is what to ask for, nil while that is not known. Another one than before leads to another certificate.
	Template func() *x509.CertificateRequest
	// Usages are asked for.
	Usages []certificatesv1.KeyUsage
	// File gets key and certificate, mode 0600.
	File string
	// Issuer is the key, in the ConfigMap of authorities, of the one that signs.
	Issuer string
	// Bundles are the files that get authorities' certificates, each with the keys of the ConfigMap of which it is made.
	Bundles map[string][]string
	// Lifetime is asked for; zero leaves it to the signer.
	Lifetime time.Duration
}

// Requester keeps a certificate, and the certificates of the authorities that the host trusts, in files.
type Requester struct {
	client  kubernetes.Interface
	wanted  Wanted
	changed func()

	once  sync.Once
	ready chan struct{}
}

// NewRequester does nothing yet. changed, which may be nil, is called after each change of a file.
func NewRequester(client kubernetes.Interface, w Wanted, changed func()) *Requester {
	return &Requester{client: client, wanted: w, changed: changed, ready: make(chan struct{})}
}

// Ready is closed when all files are there for the first time; what is there from before counts.
func (r *Requester) Ready() <-chan struct{} { return r.ready }

func (r *Requester) pair() pairFile { return pairFile{r.wanted.File, r.fileChanged} }

func (r *Requester) fileChanged() {
	if r.complete() == nil {
		r.once.Do(func() { close(r.ready) })
	}
	if r.changed != nil {
		r.changed()
	}
}

// complete returns what is missing.
func (r *Requester) complete() error {
	_, err := r.pair().Current()
	for file := range r.wanted.Bundles {
		if _, statErr := os.Stat(file); statErr != nil {
			err = errors.Join(err, statErr)
		}
	}
	return err
}

// Run works until ctx ends; it must be called once. What fails is tried again; while the API server cannot be reached, files from before
// stay in use.
func (r *Requester) Run(ctx context.Context) {
	if r.complete() == nil {
		r.fileChanged()
	}
	first, err := r.first(ctx)
	if err != nil {
		return // ctx has ended
	}
	updates := make(chan map[string]string, 1)
	updates <- first
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { r.watch(ctx, updates) })
	k := keeper{r: r, stop: func() {}}
	defer func() { k.stop() }()
	for {
		select {
		case authorities := <-updates:
			_ = untilDone(ctx, "keep certificates in "+filepath.Dir(r.wanted.File), func() error { return k.adopt(ctx, authorities) })
		case <-ctx.Done():
			return
		}
	}
}

// keeper renews the certificate of the present issuer.
type keeper struct {
	r      *Requester
	issuer string
	stop   func()
}

// adopt trusts authorities. Where they have not signed the present certificate another one is asked for.
func (k *keeper) adopt(ctx context.Context, authorities map[string]string) error {
	if err := k.r.trust(authorities); err != nil {
		return err
	}
	issuer := authorities[k.r.wanted.Issuer]
	if k.issuer == issuer || k.issuer != "" && k.r.pair().signedBy([]byte(issuer)) {
		k.issuer = issuer
		return nil
	}
	k.stop()
	stop, err := k.r.manage(ctx, issuer)
	if err != nil {
		return err
	}
	k.issuer, k.stop = issuer, stop
	return nil
}

// first waits until the authorities are published.
func (r *Requester) first(ctx context.Context) (map[string]string, error) {
	var data map[string]string
	err := untilDone(ctx, "read the certificate authorities", func() error {
		m, err := r.client.CoreV1().ConfigMaps(names.Namespace).Get(ctx, names.Authorities, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !usable(m.Data) {
			return fmt.Errorf("config map %s/%s is empty: no master has filled it yet", names.Namespace, names.Authorities)
		}
		data = m.Data
		return nil
	})
	return data, err
}

func usable(data map[string]string) bool {
	return data[names.NodeAuthorityKey] != "" && data[names.MasterAuthorityKey] != ""
}

// watch hands on the newest authorities.
func (r *Requester) watch(ctx context.Context, updates chan map[string]string) {
	source := kube.Selected(r.client, r.client.CoreV1().ConfigMaps(names.Namespace), fields.OneTermEqualSelector(metav1.ObjectNameField, names.Authorities).String())
	handle := func(obj any) {
		m, ok := obj.(*corev1.ConfigMap)
		if !ok || !usable(m.Data) {
			return
		}
		select {
		case <-updates: // older
		default:
		}
		updates <- m.Data
	}
	_, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: source, ObjectType: &corev1.ConfigMap{},
		Handler: cache.ResourceEventHandlerFuncs{AddFunc: handle, UpdateFunc: func(_, obj any) { handle(obj) }},
	})
	controller.RunWithContext(ctx)
}

// trust writes the bundles that differ.
func (r *Requester) trust(authorities map[string]string) error {
	for _, file := range slices.Sorted(maps.Keys(r.wanted.Bundles)) {
		var b strings.Builder
		for _, key := range r.wanted.Bundles[file] {
			b.WriteString(authorities[key])
		}
		if have, err := os.ReadFile(file); err == nil && string(have) == b.String() {
			continue
		}
		if err := replace(file, []byte(b.String()), publicMode); err != nil {
			return err
		}
		klog.InfoS("Trusted certificate authorities have changed", "file", file)
		r.fileChanged()
	}
	return nil
}

// manage starts what requests and renews the certificate. One that the present authority has not signed does not count.
func (r *Requester) manage(ctx context.Context, issuer string) (stop func(), err error) {
	if !r.pair().signedBy([]byte(issuer)) {
		if err := os.Remove(r.wanted.File); err != nil && !os.IsNotExist(err) {
			return nil, fmt.Errorf("certificate of a former authority: %w", err)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	c := certificate.Config{
		Ctx: &ctx, Name: r.wanted.Signer, SignerName: r.wanted.Signer, GetTemplate: r.wanted.Template, Usages: r.wanted.Usages,
		CertificateStore: r.pair(),
		ClientsetFn:      func(*tls.Certificate) (kubernetes.Interface, error) { return r.client, nil },
	}
	if r.wanted.Lifetime > 0 {
		c.RequestedCertificateLifetime = &r.wanted.Lifetime
	}
	m, err := certificate.NewManager(&c)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("certificate of %s: %w", r.wanted.Signer, err)
	}
	m.Start()
	return cancel, nil
}
