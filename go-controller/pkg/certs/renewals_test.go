package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// firstRequests notes when each host asks for a certificate for the first time, and signs at once.
type firstRequests struct {
	authority *Authority

	mu     sync.Mutex
	at     map[string]time.Time
	signed map[string]*certificatesv1.CertificateSigningRequest
}

// serve answers in place of a fake API server, which takes no notice of field selectors.
func (f *firstRequests) serve(c *fake.Clientset) {
	const resource = "certificatesigningrequests"
	c.PrependReactor("create", resource, f.create)
	c.PrependReactor("list", resource, f.list)
	c.PrependWatchReactor(resource, func(clienttesting.Action) (bool, watch.Interface, error) { return true, watch.NewFake(), nil })
}

func (f *firstRequests) create(a clienttesting.Action) (bool, runtime.Object, error) {
	create, ok := a.(clienttesting.CreateAction)
	if !ok {
		return false, nil, nil
	}
	csr, ok := create.GetObject().(*certificatesv1.CertificateSigningRequest)
	if !ok {
		return false, nil, nil
	}
	request, err := parseRequest(csr.Spec.Request)
	if err != nil {
		return true, nil, err
	}
	host := request.Subject.CommonName
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, again := f.at[host]; !again {
		f.at[host] = time.Now()
	}
	csr.Name = fmt.Sprintf("csr-%d", len(f.signed))
	conclude(csr, certificatesv1.CertificateApproved, "Test", "")
	csr.Status.Certificate, err = f.authority.Sign(request.PublicKey, Profile{CommonName: host, Organization: names.NodeAgentGroup, DNSNames: request.DNSNames}, time.Now(), time.Hour)
	f.signed[csr.Name] = csr
	return true, csr, err
}

func (f *firstRequests) list(a clienttesting.Action) (bool, runtime.Object, error) {
	list, ok := a.(clienttesting.ListAction)
	if !ok {
		return false, nil, nil
	}
	name, _ := list.GetListRestrictions().Fields.RequiresExactMatch(metav1.ObjectNameField)
	f.mu.Lock()
	defer f.mu.Unlock()
	out := &certificatesv1.CertificateSigningRequestList{}
	if csr, ok := f.signed[name]; ok {
		out.Items = append(out.Items, *csr)
	}
	return true, out, nil
}

func (f *firstRequests) times() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Values(f.at))
}

// hold puts a certificate, signed now, where a Requester finds it.
func hold(t *testing.T, a *Authority, w Wanted, validity time.Duration) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := w.Template()
	certPEM, err := a.Sign(key.Public(), Profile{CommonName: template.Subject.CommonName, Organization: names.NodeAgentGroup, DNSNames: template.DNSNames}, time.Now(), validity)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (pairFile{w.File, func() {}}).Update(certPEM, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		t.Fatal(err)
	}
}

// Hosts that had their certificates in the same instant, as in a cluster that was just made, ask for the next ones at times of their
// own. New authorities beside the former ones make nobody ask: neither at once nor later than due.
func TestRenewalsAreSpread(t *testing.T) {
	const (
		hosts = 500
		// The least that there is: a host's manager looks around once a second. What counts are fractions of it.
		validity = 10 * time.Minute
		// slots of the time in which certificates are renewed: a minute each where they last a day.
		slots = 288
		// inASlot is far more than come if hosts are independent of each other, 1.7 on average: the chance of more, over all slots, is below one in ten million.
		inASlot = 15
	)
	// The last of them makes whoever reports an error sleep, by the clock from before the test's own: for decades.
	handlers := utilruntime.ErrorHandlers
	utilruntime.ErrorHandlers = handlers[:1]
	t.Cleanup(func() { utilruntime.ErrorHandlers = handlers })
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c, began := cluster(t), time.Now()
		a, err := OpenAuthorities(t.Context(), c, began)
		if err != nil {
			t.Fatal(err)
		}
		asked := &firstRequests{authority: a.Node, at: map[string]time.Time{}, signed: map[string]*certificatesv1.CertificateSigningRequest{}}
		asked.serve(c)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range hosts {
			name := strconv.Itoa(i)
			w := ForNode(filepath.Join(dir, name), "n"+name, func() string { return "chassis" + name })
			hold(t, a.Node, w, validity)
			wg.Go(func() { NewRequester(c, w, nil).Run(ctx) })
		}
		time.Sleep(time.Minute)
		if _, err := c.CoreV1().Secrets(names.Namespace).Patch(ctx, names.Authorities, types.JSONPatchType, []byte(`[{"op": "remove", "path": "/data"}]`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		if next, err := OpenAuthorities(ctx, c, time.Now()); err != nil || next.From.IsZero() {
			t.Fatalf("new authorities sign from %s on, %v", next.From, err)
		}
		total := validity + backdate
		early, late := began.Add(-backdate+total*7/10), began.Add(-backdate+total*9/10)
		time.Sleep(time.Until(early) - time.Second)
		if n := len(asked.times()); n != 0 {
			t.Errorf("%d hosts have asked before %s", n, early)
		}
		time.Sleep(time.Until(late) + time.Second)
		cancel()
		wg.Wait()
		time.Sleep(2 * time.Hour) // what waits until its certificate is due looks at its context then
		if all, most := len(asked.times()), most(asked.times(), late.Sub(early)/slots); all != hosts || most > inASlot {
			t.Errorf("%d of %d hosts have asked by %s, %d in one of %d slots: want all, at most %d", all, hosts, late, most, slots, inASlot)
		} else {
			t.Logf("%d hosts renew over %s, at most %d in %s", hosts, late.Sub(early), most, late.Sub(early)/slots)
		}
	})
}

// most is how many times fall into one slot.
func most(times []time.Time, slot time.Duration) int {
	count, most := map[time.Time]int{}, 0
	for _, at := range times {
		s := at.Truncate(slot)
		count[s]++
		most = max(most, count[s])
	}
	return most
}

// BenchmarkSigner answers requests of the nodes of a cluster, one after the other as the signer does, with an API server in memory that takes its time
// for each request. Certificates that are renewed cost two such requests, those that are a Node's first one more.
func BenchmarkSigner(b *testing.B) {
	for _, nodes := range []int{500, 5000} {
		for _, latency := range []time.Duration{0, 5 * time.Millisecond} {
			b.Run(fmt.Sprintf("nodes=%d/api=%s", nodes, latency), func(b *testing.B) { benchmarkSigner(b, nodes, latency) })
		}
	}
}

func benchmarkSigner(b *testing.B, nodes int, latency time.Duration) {
	c, signed := fake.NewClientset(), 0
	c.PrependReactor("update", "certificatesigningrequests", func(a clienttesting.Action) (bool, runtime.Object, error) {
		time.Sleep(latency)
		update, ok := a.(clienttesting.UpdateAction)
		if !ok {
			return false, nil, nil
		}
		if csr, ok := update.GetObject().(*certificatesv1.CertificateSigningRequest); ok && len(csr.Status.Certificate) > 0 {
			signed++
		}
		return true, update.GetObject(), nil
	})
	var authorities Authorities
	var err error
	if authorities.Node, err = NewAuthority(names.NodeAuthority, time.Now()); err != nil {
		b.Fatal(err)
	}
	s := NewSigner(c, time.Hour)
	defer s.queue.ShutDown()
	specs := make([]certificatesv1.CertificateSigningRequestSpec, nodes)
	for i := range nodes {
		name, chassis := fmt.Sprintf("n%d", i), fmt.Sprintf("chassis%d", i)
		s.nodes.Put(certified(node(name, chassis, int64(i)), chassis))
		specs[i] = honest().spec
		specs[i].Username = names.NodeAgentUserPrefix + name
	}
	for i := range min(nodes, 500) { // a key of its own for each would take longer than the benchmark
		request := ForNode("", fmt.Sprintf("n%d", i), func() string { return fmt.Sprintf("chassis%d", i) }).Template()
		specs[i].Request = encodeRequest(b, request)
	}
	specs = specs[:min(nodes, 500)]
	i := 0
	for b.Loop() {
		csr := &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: strconv.Itoa(i)}, Spec: specs[i%len(specs)]}
		if err := s.answer(b.Context(), csr, authorities, "boss"); err != nil || signed != i+1 {
			b.Fatalf("%d certificates for %d requests: %+v, %v", signed, i+1, csr.Status.Conditions, err)
		}
		i++
	}
	perSecond := float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(perSecond, "certificates/s")
	b.ReportMetric(500/perSecond, "s/500")
}
