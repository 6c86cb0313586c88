package kube

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	networkingv1client "k8s.io/client-go/kubernetes/typed/networking/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// ServiceCIDR is what is kept of a Kubernetes ServiceCIDR: networks that services get their cluster IPs from. It is never changed
// after it was made.
type ServiceCIDR struct {
	Name string
	// Prefixes are at most one of each family.
	Prefixes []netip.Prefix
}

// Key is the object's name.
func (s *ServiceCIDR) Key() string { return s.Name }

// Equal tells whether nothing that is kept differs.
func (s *ServiceCIDR) Equal(t *ServiceCIDR) bool {
	return s.Name == t.Name && slices.Equal(s.Prefixes, t.Prefixes)
}

// NewServiceCIDR trims an object. One that is being deleted counts until it has gone: services have addresses of it so long.
func NewServiceCIDR(in *networkingv1.ServiceCIDR) *ServiceCIDR {
	out := &ServiceCIDR{Name: in.Name}
	for _, text := range in.Spec.CIDRs {
		if p, err := netip.ParsePrefix(text); err == nil {
			out.Prefixes = append(out.Prefixes, p.Masked())
		}
	}
	return out
}

// NewServiceCIDRMirror mirrors ServiceCIDRs.
func NewServiceCIDRMirror() *Mirror[*ServiceCIDR] {
	return mirrorOf("servicecidrs", &networkingv1.ServiceCIDR{}, func(in *networkingv1.ServiceCIDR) *networkingv1.ServiceCIDR { return in }, NewServiceCIDR)
}

// ServiceCIDRs lists and watches all of them. To an API server that does not know the kind (before Kubernetes 1.33), or does not
// let us see it, there are none.
func ServiceCIDRs(client networkingv1client.NetworkingV1Interface) cache.ListerWatcher {
	return &optional{
		source: cache.NewListWatchFromClient(client.RESTClient(), "servicecidrs", metav1.NamespaceAll, fields.Everything()),
		empty:  func() runtime.Object { return &networkingv1.ServiceCIDRList{} },
	}
}

// How long a kind that the API server does not have is not asked for again: doubled from the first to the last. It is short at
// first, as an agent may start before it is given its permissions.
const (
	optionalPauseFirst = time.Second
	optionalPauseLast  = 10 * time.Minute
)

// optional takes a kind that the API server does not have for one without objects.
type optional struct {
	source *cache.ListWatch
	empty  func() runtime.Object
	// pause is the next one; 0 is the first. Watches come one after the other.
	pause time.Duration
}

var _ cache.ListerWatcherWithContext = (*optional)(nil)

// IsWatchListSemanticsUnSupported says that a list has to come first: only that tells whether the kind is there.
func (o *optional) IsWatchListSemanticsUnSupported() bool { return true }

// List implements cache.ListerWatcher.
func (o *optional) List(options metav1.ListOptions) (runtime.Object, error) {
	return o.ListWithContext(context.Background(), options)
}

// Watch implements cache.ListerWatcher.
func (o *optional) Watch(options metav1.ListOptions) (watch.Interface, error) {
	return o.WatchWithContext(context.Background(), options)
}

// ListWithContext implements cache.ListerWatcherWithContext.
func (o *optional) ListWithContext(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	list, err := o.source.ListWithContext(ctx, options)
	if isAbsent(err) {
		klog.InfoS("The API server has none of a kind that could be of use", "reason", err)
		return o.empty(), nil
	}
	return list, err
}

// WatchWithContext implements cache.ListerWatcherWithContext.
func (o *optional) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	w, err := o.source.WatchWithContext(ctx, options)
	if !isAbsent(err) {
		o.pause = 0
		return w, err
	}
	pause := max(o.pause, optionalPauseFirst)
	o.pause = min(2*pause, optionalPauseLast)
	return newSilence(ctx, pause), nil
}

// silence is a watch that ends after a while without having shown anything.
type silence struct {
	events chan watch.Event
	cancel context.CancelFunc
}

func newSilence(ctx context.Context, length time.Duration) *silence {
	ctx, cancel := context.WithTimeout(ctx, length)
	s := &silence{events: make(chan watch.Event), cancel: cancel}
	context.AfterFunc(ctx, func() { close(s.events) })
	return s
}

// Stop implements watch.Interface.
func (s *silence) Stop() { s.cancel() }

// ResultChan implements watch.Interface.
func (s *silence) ResultChan() <-chan watch.Event { return s.events }

func isAbsent(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsForbidden(err) }

// ServiceNetworks returns the networks in which services have their cluster IPs: configured ones and those of objects, each once,
// without those that are part of others, in order. What overlaps any of the taken networks is left out: it would lead
// astray what belongs to these. The second result are the networks left out.
func ServiceNetworks(configured []netip.Prefix, objects []*ServiceCIDR, taken []netip.Prefix) (use, refused []netip.Prefix) {
	all := slices.Clone(configured)
	for _, o := range objects {
		for _, p := range o.Prefixes {
			if slices.ContainsFunc(taken, p.Overlaps) {
				refused = append(refused, p)
			} else {
				all = append(all, p)
			}
		}
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int {
		return cmp.Or(cmp.Compare(a.Addr().BitLen(), b.Addr().BitLen()), cmp.Compare(a.Bits(), b.Bits()), a.Addr().Compare(b.Addr()))
	})
	for _, p := range all {
		if !slices.ContainsFunc(use, p.Overlaps) {
			use = append(use, p)
		}
	}
	return use, refused
}
