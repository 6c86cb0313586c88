package master

// keyKind says what a key of the engine's queue is about.
type keyKind int

const (
	nodeKey keyKind = iota
	podKey
	serviceKey
	// serviceNetworksKey: service networks may have changed.
	serviceNetworksKey
	namespaceKey
	policyKey
	// policyStepKey: the pods that were woken before have been looked at.
	policyStepKey
	// resultsKey: the reconciler has reported something.
	resultsKey
	// syncedKey comes after the first key of every node and pod, and again after that of every service.
	syncedKey
)

// key is one piece of work of the engine.
type key struct {
	kind keyKind
	name string
}

// String is for log lines.
func (k key) String() string {
	switch k.kind {
	case nodeKey:
		return "node " + k.name
	case podKey:
		return "pod " + k.name
	case serviceKey:
		return "service " + k.name
	case serviceNetworksKey:
		return "service networks"
	case namespaceKey:
		return "namespace " + k.name
	case policyKey:
		return "network policy " + k.name
	case policyStepKey:
		return "step of network policies " + k.name
	case resultsKey:
		return "results"
	default:
		return "synced"
	}
}
