// Package images says what the container image consists of. The Dockerfile beside it and the builder that needs no container
// engine (test/lab/image) read the same lists, so that they make the same image.
package images

import (
	_ "embed"
	"strings"
)

// Repository is the image's name without a tag.
const Repository = "ghcr.io/ovnkube/ovnkube"

// Suite is the Debian release the image is based on.
const Suite = "trixie"

//go:embed packages
var packages string

//go:embed leave-out
var leaveOut string

// Packages returns the names of the Debian packages in the image, beside those every Debian has and those they depend on.
func Packages() []string { return lines(packages) }

// LeaveOut returns patterns, as path.Match knows them, of absolute paths that are not in the image. One that ends with a slash
// stands for all that is in the folder.
func LeaveOut() []string { return lines(leaveOut) }

// Binaries returns where the project's executables lie in the image, by their names.
func Binaries() map[string]string {
	return map[string]string{
		"ovnkube":             "/usr/bin/ovnkube",
		"kubectl-ovn":         "/usr/bin/kubectl-ovn",
		"ovn-k8s-cni-overlay": "/usr/libexec/cni/ovn-k8s-cni-overlay",
	}
}

// lines returns the lines that are neither empty nor a comment.
func lines(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return out
}
