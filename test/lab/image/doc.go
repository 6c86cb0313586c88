// Package image writes the container images of the lab as OCI image layout
// archives, with neither a container engine nor a registry: the lab's nodes
// import them with `ctr -n k8s.io images import`.
//
// The same input gives the same bytes: owners, times and order inside the
// archives are fixed.
//
// Rules: https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
// and layer.md there; the annotation that carries an image's full name is
// containerd's.
package image
