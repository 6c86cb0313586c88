package names

// Namespace has the project's own objects: service accounts, certificate authorities, the signer's Lease.
const Namespace = "ovn-kubernetes"

// Signers of CertificateSigningRequests (spec.signerName).
const (
	// NodeSigner signs for node agents: a client certificate whose common name is the chassis' name.
	NodeSigner = "k8s.ovn.org/ovnkube-node"
	// MasterSigner signs for the control plane: masters, ovn-northd and the database servers.
	MasterSigner = "k8s.ovn.org/ovnkube-master"
)

// Authorities names, in Namespace, the Secret with the certificate authorities' keys and the ConfigMap with their
// certificates. SignerLease is held by the replica that signs.
const (
	Authorities = "ovnkube-ca"
	SignerLease = "ovnkube-signer"
)

// Keys of the ConfigMap and the Secret Authorities. Private keys are in the Secret alone.
const (
	NodeAuthorityKey          = "node-ca.crt"
	NodeAuthorityPrivateKey   = "node-ca.key"
	MasterAuthorityKey        = "master-ca.crt"
	MasterAuthorityPrivateKey = "master-ca.key"
)

// Common names of the authorities, to which the time of their making is added.
const (
	NodeAuthority   = "ovnkube-node-ca"
	MasterAuthority = "ovnkube-master-ca"
)

// MasterGroup is the organization in certificates of the control plane.
const MasterGroup = "system:ovn-masters"

// NodeAgentAnnotations are what a node agent may write to its own Node; the admission policy for agents has the same list.
func NodeAgentAnnotations() []string {
	return []string{HostCIDRsAnnotation, L3GatewayConfigAnnotation, NodeChassisIDAnnotation, NodeMgmtPortMACAnnotation}
}

// Identities by which the API server knows the components.
const (
	NodeAgentGroup      = "system:ovn-nodes"
	NodeAgentUserPrefix = "system:ovn-node:" // followed by the Node's name
	NodeServiceAccount  = "system:serviceaccount:" + Namespace + ":ovnkube-node"
	KubeletGroup        = "system:nodes"
	KubeletUserPrefix   = "system:node:" // followed by the Node's name
	// TokenNodeExtra is what the API server knows of a token that is bound to a pod: the name of the pod's node.
	TokenNodeExtra = "authentication.kubernetes.io/node-name"
)

// NodeCertifiedChassisAnnotation is on Nodes: the master's memory of the chassis for which that Node has had a certificate.
const NodeCertifiedChassisAnnotation = "k8s.ovn.org/node-certified-chassis"

// Files in a certificate folder. Key and certificate share a file, so that both are replaced at once.
const (
	NodeCertificateFile   = "ovnkube-node.pem"
	MasterCertificateFile = "ovnkube-master.pem"
	// ServerCAFile has the authority of database servers, ClientCAFile those of all who may connect to the southbound one.
	ServerCAFile = "ca.crt"
	ClientCAFile = "client-ca.crt"
)

// CertificateDir is where keys and certificates are kept on a host.
const CertificateDir = "/etc/ovn/pki"

// ChassisRole is OVN's role for ovn-controller's connections to the southbound database (see ovn-sb(5), RBAC_Role).
const ChassisRole = "ovn-controller"
