// Package tools pins kube-proxy, which benchmarks compare with, to an exact module version. It is a module of its own so that what the lab
// runs does not depend on it.
package tools
