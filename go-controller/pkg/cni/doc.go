// Package cni is the node agent's CNI server: it attaches pods' sandboxes to the integration bridge on
// behalf of the plugin binary (package shim), and writes the network configuration for the container runtime.
//
// docs/design/cni.md describes the protocol, the stages of an ADD, and what happens when something fails.
package cni
