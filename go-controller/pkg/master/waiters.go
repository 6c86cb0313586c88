package master

// waiters are pods that wait for something to happen on a node.
type waiters struct {
	pods  map[string]map[string]struct{} // by node
	nodes map[string]string              // by pod
}

func newWaiters() waiters {
	return waiters{pods: map[string]map[string]struct{}{}, nodes: map[string]string{}}
}

// add lets pod wait on node, and on no other.
func (w waiters) add(node, pod string) {
	w.remove(pod)
	w.nodes[pod] = node
	if w.pods[node] == nil {
		w.pods[node] = map[string]struct{}{}
	}
	w.pods[node][pod] = struct{}{}
}

func (w waiters) remove(pod string) {
	node, ok := w.nodes[pod]
	if !ok {
		return
	}
	delete(w.nodes, pod)
	delete(w.pods[node], pod)
	if len(w.pods[node]) == 0 {
		delete(w.pods, node)
	}
}

func (w waiters) on(node string) map[string]struct{} { return w.pods[node] }

func (w waiters) len() int { return len(w.nodes) }

// complaints remembers what users were told about an object, by reason, so that it is not repeated as long as it
// stays true.
type complaints map[key]map[string]string

// news tells whether text is not what was said last for that reason, and remembers it.
func (c complaints) news(k key, reason, text string) bool {
	if c[k][reason] == text {
		return false
	}
	if c[k] == nil {
		c[k] = map[string]string{}
	}
	c[k][reason] = text
	return true
}

// settled says that a complaint is no longer true: should it come again, it is news.
func (c complaints) settled(k key, reason string) {
	delete(c[k], reason)
	if len(c[k]) == 0 {
		delete(c, k)
	}
}

// forget drops all about an object.
func (c complaints) forget(k key) { delete(c, k) }
