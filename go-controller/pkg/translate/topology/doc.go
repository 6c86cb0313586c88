// Package topology translates the cluster and its nodes into routers, switches and the ports and routes
// between them. docs/design/topology.md has the picture.
package topology
