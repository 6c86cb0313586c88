package plan

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// Addresses that stand for cluster IPs that are not given yet, of those for documentation: RFC 5737, RFC 3849.
const (
	unknownIPv4 = "192.0.2.1"
	unknownIPv6 = "2001:db8::1"
)

func serviceKey(s *corev1.Service) string { return names.ObjectName(s.Namespace, s.Name) }

// applyService puts a service in, with what the API server would give it.
func (w *world) applyService(s *corev1.Service, remove bool) string {
	key := serviceKey(s)
	w.concerned.services[key] = true
	setDefaults(s)
	former := replace(&w.objects.Services, serviceKey, s, remove)
	if remove {
		return ""
	}
	now := &w.objects.Services[len(w.objects.Services)-1]
	if former != nil {
		keep(former, now)
	}
	w.simulated[key] = former == nil || !reflect.DeepEqual(former.Spec.Selector, now.Spec.Selector) || !samePorts(former, now)
	var notes []string
	if len(now.Spec.ClusterIPs) == 0 && now.Spec.ClusterIP == "" && now.Spec.Type != corev1.ServiceTypeExternalName {
		now.Spec.ClusterIPs = w.unknownIPs(now)
		notes = append(notes, fmt.Sprintf("%s stands for the cluster IP that it will be given", strings.Join(now.Spec.ClusterIPs, ", ")))
	}
	if w.simulated[key] && len(now.Spec.Selector) > 0 {
		notes = append(notes, "its endpoints are those pods that it selects and that are ready now")
	}
	if len(notes) == 0 {
		return ""
	}
	return "service " + key + ": " + strings.Join(notes, "; ")
}

// reselected concerns the services whose endpoints change when a pod becomes another one; nil is none. It returns their keys.
func (w *world) reselected(former, now *corev1.Pod) []string {
	selects := func(s *corev1.Service, p *corev1.Pod) bool {
		return p != nil && labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(p.Labels))
	}
	var out []string
	for i := range w.objects.Services {
		s := &w.objects.Services[i]
		if s.Namespace == former.Namespace && len(s.Spec.Selector) > 0 && selects(s, former) != selects(s, now) {
			w.concerned.services[serviceKey(s)], w.simulated[serviceKey(s)] = true, true
			out = append(out, serviceKey(s))
		}
	}
	return out
}

// setDefaults fills in what the API server would: ServiceSpec.
func setDefaults(s *corev1.Service) {
	if s.Spec.Type == "" {
		s.Spec.Type = corev1.ServiceTypeClusterIP
	}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if p.Protocol == "" {
			p.Protocol = corev1.ProtocolTCP
		}
		if p.TargetPort == (intstr.IntOrString{}) {
			p.TargetPort = intstr.FromInt32(p.Port)
		}
	}
}

// keep keeps what the manifest leaves open and the API server does not take away.
func keep(former, now *corev1.Service) {
	if now.Spec.ClusterIP == "" && len(now.Spec.ClusterIPs) == 0 {
		now.Spec.ClusterIP, now.Spec.ClusterIPs = former.Spec.ClusterIP, former.Spec.ClusterIPs
	}
	now.Status = former.Status
	if now.Spec.Type == corev1.ServiceTypeClusterIP {
		return
	}
	for i := range now.Spec.Ports {
		p := &now.Spec.Ports[i]
		for _, f := range former.Spec.Ports {
			if p.NodePort == 0 && p.Port == f.Port && p.Protocol == f.Protocol {
				p.NodePort = f.NodePort
			}
		}
	}
}

// samePorts tells whether both lead to the same ports of pods.
func samePorts(a, b *corev1.Service) bool {
	targets := func(s *corev1.Service) map[string]intstr.IntOrString {
		out := map[string]intstr.IntOrString{}
		for _, p := range s.Spec.Ports {
			out[p.Name+"/"+string(p.Protocol)] = p.TargetPort
		}
		return out
	}
	return reflect.DeepEqual(targets(a), targets(b))
}

func (w *world) unknownIPs(s *corev1.Service) []string {
	f := w.families()
	all := []string{}
	if f.IPv4 {
		all = append(all, unknownIPv4)
	}
	if f.IPv6 {
		all = append(all, unknownIPv6)
	}
	policy := s.Spec.IPFamilyPolicy
	if len(all) == 2 && (policy == nil || *policy == corev1.IPFamilyPolicySingleStack) {
		if len(s.Spec.IPFamilies) > 0 && s.Spec.IPFamilies[0] == corev1.IPv6Protocol {
			return all[1:]
		}
		return all[:1]
	}
	return all
}

// slices are a service's, or what its slices will be.
func (w *world) slices(s *corev1.Service) []*kube.EndpointSlice {
	if w.simulated[serviceKey(s)] && len(s.Spec.Selector) > 0 {
		return []*kube.EndpointSlice{w.simulate(s, true), w.simulate(s, false)}
	}
	var out []*kube.EndpointSlice
	for i := range w.objects.Slices {
		if slice := kube.NewEndpointSlice(&w.objects.Slices[i]); slice.ServiceKey() == serviceKey(s) {
			out = append(out, slice)
		}
	}
	return out
}

// simulate makes the slice of a family of a service with numbered target ports, or names that all pods take for the same number.
func (w *world) simulate(s *corev1.Service, v4 bool) *kube.EndpointSlice {
	out := &kube.EndpointSlice{Namespace: s.Namespace, Name: s.Name, Service: s.Name}
	numbers := map[string]uint16{}
	for i := range w.objects.Pods {
		p := &w.objects.Pods[i]
		if p.Namespace != s.Namespace || !labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(p.Labels)) {
			continue
		}
		for _, c := range kube.NewPod(p).Ports {
			numbers[c.Name+"/"+string(c.Protocol)] = c.Port
		}
		out.Endpoints = append(out.Endpoints, endpoints(s, p, v4)...)
	}
	for _, p := range s.Spec.Ports {
		number := uint16(p.TargetPort.IntVal)
		if p.TargetPort.Type == intstr.String {
			number = numbers[p.TargetPort.StrVal+"/"+string(p.Protocol)]
		}
		if number != 0 {
			out.Ports = append(out.Ports, kube.EndpointPort{Name: p.Name, Protocol: p.Protocol, Port: number})
		}
	}
	return out
}

// endpoints are what a pod is to a service, as the controller of EndpointSlices says it: only pods that are ready serve, and what is being
// deleted drains. https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#conditions
func endpoints(s *corev1.Service, p *corev1.Pod, v4 bool) []kube.Endpoint {
	if kube.NewPod(p).Finished {
		return nil
	}
	e := kube.Endpoint{Node: p.Spec.NodeName, Terminating: p.DeletionTimestamp != nil}
	e.Serving = slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
	e.Ready = s.Spec.PublishNotReadyAddresses || e.Serving && !e.Terminating
	var out []kube.Endpoint
	for _, ip := range p.Status.PodIPs {
		if a, err := netip.ParseAddr(ip.IP); err == nil && a.Is4() == v4 {
			e.Address = a
			out = append(out, e)
		}
	}
	return out
}
