package certs

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// ErrWait is why a request is neither granted nor denied yet: the Node has not said which chassis it is.
var ErrWait = errors.New("waiting for the node")

// Grant is what Decide allows.
type Grant struct {
	Profile Profile
	Request *x509.CertificateRequest
	// Node is whose chassis the certificate is for; nil for the control plane.
	Node *kube.Node
}

// Rules are what Decide judges by.
type Rules struct {
	// Nodes are all there are.
	Nodes []*kube.Node
	// Self is the signer's own user name; what has it is the control plane.
	Self string
}

// Decide says what certificate the requester may have, whose identity the API server has put into the request. An error
// other than ErrWait is why it may have none.
func Decide(spec *certificatesv1.CertificateSigningRequestSpec, rules Rules) (Grant, error) {
	request, err := parseRequest(spec.Request)
	if err != nil {
		return Grant{}, err
	}
	switch spec.SignerName {
	case names.NodeSigner:
		return decideNode(spec, request, rules.Nodes)
	case names.MasterSigner:
		return decideMaster(spec, request, rules)
	}
	return Grant{}, fmt.Errorf("signer %q is another's", spec.SignerName)
}

func parseRequest(data []byte) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("the request is not PEM of type CERTIFICATE REQUEST")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the request: %w", err)
	}
	if err := request.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the request is not signed with its own key: %w", err)
	}
	if len(request.IPAddresses)+len(request.EmailAddresses)+len(request.URIs) > 0 {
		return nil, errors.New("the request asks for addresses or URIs, which no certificate here has")
	}
	return request, nil
}

// decideNode: who asks decides the Node, and the Node's annotation decides the chassis.
func decideNode(spec *certificatesv1.CertificateSigningRequestSpec, request *x509.CertificateRequest, nodes []*kube.Node) (Grant, error) {
	node, err := requester(spec)
	if err != nil {
		return Grant{}, err
	}
	if !slices.Equal(request.DNSNames, []string{node}) {
		return Grant{}, fmt.Errorf("%s asks for a certificate with the names %q: only that of its own node, %q, is allowed", spec.Username, request.DNSNames, node)
	}
	if err := usages(spec.Usages, certificatesv1.UsageClientAuth); err != nil {
		return Grant{}, err
	}
	owner, err := ownsChassis(nodes, node, request.Subject.CommonName)
	if err != nil {
		return Grant{}, err
	}
	return Grant{Request: request, Node: owner, Profile: Profile{
		CommonName: request.Subject.CommonName, Organization: names.NodeAgentGroup, DNSNames: []string{node},
		Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}}, nil
}

func decideMaster(spec *certificatesv1.CertificateSigningRequestSpec, request *x509.CertificateRequest, rules Rules) (Grant, error) {
	if rules.Self == "" || spec.Username != rules.Self {
		return Grant{}, fmt.Errorf("user %q is not %q, the master", spec.Username, rules.Self)
	}
	if err := usages(spec.Usages, certificatesv1.UsageClientAuth, certificatesv1.UsageServerAuth); err != nil {
		return Grant{}, err
	}
	if request.Subject.CommonName == "" {
		return Grant{}, errors.New("the request has no common name")
	}
	return Grant{Request: request, Profile: Profile{
		CommonName: request.Subject.CommonName, Organization: names.MasterGroup, DNSNames: request.DNSNames,
		Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}}, nil
}

// requester returns the name of the Node on which the requester runs: kubelet, a node agent with a certificate, or one
// with a token that is bound to its pod.
func requester(spec *certificatesv1.CertificateSigningRequestSpec) (string, error) {
	for prefix, group := range map[string]string{
		names.NodeAgentUserPrefix: names.NodeAgentGroup, names.KubeletUserPrefix: names.KubeletGroup,
	} {
		if node, ok := strings.CutPrefix(spec.Username, prefix); ok && node != "" && slices.Contains(spec.Groups, group) {
			return node, nil
		}
	}
	if spec.Username == names.NodeServiceAccount {
		if bound := spec.Extra[names.TokenNodeExtra]; len(bound) == 1 && bound[0] != "" {
			return bound[0], nil
		}
		return "", fmt.Errorf("the token of %s is not bound to a pod on a node", spec.Username)
	}
	return "", fmt.Errorf("user %q is no node", spec.Username)
}

// usages refuses other usages than signatures and those allowed, and a request that leaves one of these out.
func usages(asked []certificatesv1.KeyUsage, allowed ...certificatesv1.KeyUsage) error {
	for _, u := range asked {
		if u != certificatesv1.UsageDigitalSignature && u != certificatesv1.UsageKeyEncipherment && !slices.Contains(allowed, u) {
			return fmt.Errorf("usage %q is not allowed", u)
		}
	}
	for _, u := range allowed {
		if !slices.Contains(asked, u) {
			return fmt.Errorf("usage %q is missing", u)
		}
	}
	return nil
}

// ownsChassis: a Node may change its annotation only once (an admission policy sees to that), but an old one may do so later than
// a young one. So the chassis belongs to the Node that has had a certificate for it; where two claim it and none has, somebody must decide.
func ownsChassis(nodes []*kube.Node, name, chassis string) (*kube.Node, error) {
	i := slices.IndexFunc(nodes, func(n *kube.Node) bool { return n.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("%w: there is no Node %s", ErrWait, name)
	}
	own := nodes[i]
	switch id := own.Annotations[names.NodeChassisIDAnnotation]; id {
	case "":
		return nil, fmt.Errorf("%w: Node %s has no annotation %s", ErrWait, name, names.NodeChassisIDAnnotation)
	case chassis:
	default:
		return nil, fmt.Errorf("common name %q is not the chassis of node %s, which is %q (annotation %s)", chassis, name, id, names.NodeChassisIDAnnotation)
	}
	for _, n := range nodes {
		switch {
		case n == own:
		case hasHad(n, chassis):
			return nil, fmt.Errorf("chassis %q is that of node %s already (annotation %s): give node %s a system-id of its own",
				chassis, n.Name, names.NodeCertifiedChassisAnnotation, name)
		case n.Annotations[names.NodeChassisIDAnnotation] == chassis && !hasHad(own, chassis):
			return nil, fmt.Errorf("nodes %s and %s both say that they are chassis %q: give one a system-id of its own and remove its annotation %s",
				name, n.Name, chassis, names.NodeChassisIDAnnotation)
		}
	}
	return own, nil
}

// hasHad tells whether the Node has had a certificate for the chassis.
func hasHad(n *kube.Node, chassis string) bool {
	return n.Annotations[names.NodeCertifiedChassisAnnotation] == chassis
}
