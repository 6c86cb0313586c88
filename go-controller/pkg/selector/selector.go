// Package selector knows which pods are selected by which of many selectors. A change of a pod or of a namespace costs time in proportion
// to the selectors that it may concern, not to all.
package selector

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// Selector says which pods are meant: those of a namespace, or of namespaces with certain labels, that have certain labels.
type Selector struct {
	// Namespace, unless empty, is the only one.
	Namespace string
	// Namespaces selects namespaces where Namespace is empty.
	Namespaces Labels
	Pods       Labels
	// Port, unless nil, leaves out the pods on which it is another one.
	Port *Port
}

// PortName is the name of a container's port.
type PortName struct {
	Protocol corev1.Protocol
	Name     string
}

// Port is a name for a port together with the number that it stands for.
type Port struct {
	PortName
	Number uint16
}

// String is like "TCP/http".
func (p PortName) String() string { return string(p.Protocol) + "/" + p.Name }

// String is the canonical text: the same for all selectors that say the same. For example "ns: app=web",
// "{team=a}: app=web", "{}: ", "ns: app=web TCP/http=8080". Namespaces and labels have no braces, colons or spaces.
func (s Selector) String() string {
	text := s.Namespace
	if s.Namespace == "" {
		text = "{" + s.Namespaces.String() + "}"
	}
	text += ": " + s.Pods.String()
	if s.Port != nil {
		text += fmt.Sprintf(" %s=%d", s.Port.PortName, s.Port.Number)
	}
	return text
}

// WithPort narrows the selector to pods whose port of that name has that number.
func (s Selector) WithPort(p Port) Selector {
	s.Port = &p
	return s
}
