// Package translate is the root of the translators: one folder a feature, each a set of pure functions from Kubernetes
// objects and resolved facts to desired northbound rows, with golden files beside it. "What does a Pod
// become?" is answered by the folder pod.
package translate
