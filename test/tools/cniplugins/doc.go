// Package cniplugins pins the standard CNI plugins that a lab's nodes have beside
// the project's own: loopback and portmap as everywhere, bridge and host-local for
// comparison.
package cniplugins
