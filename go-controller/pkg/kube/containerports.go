package kube

import (
	corev1 "k8s.io/api/core/v1"
)

// ContainerPort is a port of a pod that has a name.
type ContainerPort struct {
	Name     string
	Protocol corev1.Protocol
	Port     uint16
}

// containerPorts are a pod's ports with names. Where containers disagree about a name, the first one is meant, as with services; init containers that
// run on beside the others ("sidecars") come after those.
func containerPorts(spec *corev1.PodSpec) []ContainerPort {
	var out []ContainerPort
	add := func(c *corev1.Container) {
		for _, p := range c.Ports {
			port := ContainerPort{Name: p.Name, Protocol: protocol(&p.Protocol), Port: uint16(p.ContainerPort)}
			if p.Name != "" && !has(out, port) {
				out = append(out, port)
			}
		}
	}
	for i := range spec.Containers {
		add(&spec.Containers[i])
	}
	for i := range spec.InitContainers {
		if c := &spec.InitContainers[i]; isSidecar(c) {
			add(c)
		}
	}
	return out
}

func isSidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

func has(list []ContainerPort, port ContainerPort) bool {
	for _, p := range list {
		if p.Name == port.Name && p.Protocol == port.Protocol {
			return true
		}
	}
	return false
}

// trimContainers keeps what containerPorts reads.
func trimContainers(in []corev1.Container) []corev1.Container {
	var out []corev1.Container
	for _, c := range in {
		if len(c.Ports) > 0 {
			out = append(out, corev1.Container{Ports: c.Ports, RestartPolicy: c.RestartPolicy})
		}
	}
	return out
}
