// Package manifests has the Kubernetes objects that the product needs beside its processes.
package manifests

import "embed"

// Files are YAML files, to be applied in the order of their names.
//
//go:embed *.yaml
var Files embed.FS
