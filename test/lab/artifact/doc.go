// Package artifact makes what the lab runs: the Kubernetes, etcd, containerd,
// runc and CoreDNS executables, the Debian packages of the machine, and root
// folders of other Debian releases.
//
// Executables are built from Go modules below test/tools, whose go.mod and
// go.sum say exactly which versions. Each is built once into a cache folder
// whose name contains a key over everything that decides its content; it is
// built again only when one of these inputs changes. Nothing is downloaded
// that is not checked against a go.sum or Debian's archive key.
package artifact
