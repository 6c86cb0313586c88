package artifact

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Kind says how an artifact is built.
type Kind int

const (
	// Exe is a Go command: `go build`.
	Exe Kind = iota
	// TestBinary is the compiled tests of a Go package: `go test -c`.
	TestBinary
	// CProgram is a C source file of the module, compiled static.
	CProgram
)

// Groups of artifacts and packages that belong to one purpose.
const (
	// GroupLab is what a running lab needs.
	GroupLab = "lab"
	// GroupConformance is what the upstream end-to-end tests need on top.
	GroupConformance = "conformance"
	// GroupLint is the linter.
	GroupLint = "lint"
	// GroupRoot is what EnsureRoot needs (packages only).
	GroupRoot = "root"
	// GroupBench is what benchmarks compare the project with.
	GroupBench = "bench"
	// GroupCNI is the standard CNI plugins that nodes have beside the project's own.
	GroupCNI = "cni"
)

// AgnhostVersion is the version agnhost reports and its image is tagged with.
// It must be the one the pinned Kubernetes version's tests ask for.
const AgnhostVersion = "2.63.0"

// Artifact describes one file to build.
type Artifact struct {
	// Name is the file's name, unique in the list.
	Name string
	// Group is the purpose it is built for.
	Group string
	// Kind says how it is built.
	Kind Kind
	// Module is the folder below test/tools whose go.mod pins the version.
	Module string
	// Package is the Go package in that module's build list. For a CProgram it is the
	// source file's path inside the module VersionOf.
	Package string
	// VersionOf is the Go module whose version is the artifact's; may be empty.
	VersionOf string
	// Tags are build tags.
	Tags []string
	// Cgo links against C libraries; everything else is built without.
	Cgo bool
	// stamp returns the linker's -X settings for a version ("v1.2.3").
	stamp func(version string) []string
	// linkFlags are further flags of the linker.
	linkFlags []string
}

// All returns every artifact in the order in which building is fastest: the
// longest module first, and in a module first what the others share most with.
func All() []Artifact {
	return slices.Concat(kubernetes(), containerd(), others(), cniPlugins())
}

func kubernetes() []Artifact {
	const module, repo = "kubernetes", "k8s.io/kubernetes"
	var list []Artifact
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kubelet", "kubectl", "kube-scheduler"} {
		list = append(list, Artifact{Name: name, Group: GroupLab, Module: module,
			Package: repo + "/cmd/" + name, VersionOf: repo, stamp: kubernetesStamp})
	}
	return append(list,
		Artifact{Name: "agnhost", Group: GroupLab, Module: module, Package: repo + "/test/images/agnhost",
			linkFlags: []string{"-X main.Version=" + AgnhostVersion}},
		Artifact{Name: "pause", Group: GroupLab, Kind: CProgram, Module: module, VersionOf: repo,
			Package: "build/pause/linux/pause.c"},
		Artifact{Name: "regression-issue-74839", Group: GroupConformance, Module: module,
			Package: repo + "/test/images/regression-issue-74839"},
		Artifact{Name: "e2e.test", Group: GroupConformance, Kind: TestBinary, Module: module,
			Package: repo + "/test/e2e", VersionOf: repo, stamp: kubernetesStamp},
	)
}

func containerd() []Artifact {
	const module, repo = "containerd", "github.com/containerd/containerd/v2"
	stamp := func(version string) []string {
		return []string{"-X " + repo + "/version.Version=" + version}
	}
	var list []Artifact
	for _, name := range []string{"containerd", "containerd-shim-runc-v2", "ctr"} {
		list = append(list, Artifact{Name: name, Group: GroupLab, Module: module,
			Package: repo + "/cmd/" + name, VersionOf: repo, stamp: stamp})
	}
	// containerd gives every sandbox a seccomp profile, and runc without seccomp refuses it.
	return append(list, Artifact{Name: "runc", Group: GroupLab, Module: module,
		Package: "github.com/opencontainers/runc", VersionOf: "github.com/opencontainers/runc",
		Cgo: true, Tags: []string{"seccomp", "netgo", "osusergo"},
		stamp: func(version string) []string {
			return []string{"-X main.version=" + strings.TrimPrefix(version, "v")}
		},
		linkFlags: []string{"-linkmode external", "-extldflags '-static'"}})
}

func others() []Artifact {
	return []Artifact{
		{Name: "etcd", Group: GroupLab, Module: "etcd", Package: "go.etcd.io/etcd/server/v3",
			VersionOf: "go.etcd.io/etcd/server/v3"},
		{Name: "coredns", Group: GroupLab, Module: "coredns", Package: ".",
			VersionOf: "github.com/coredns/coredns"},
		{Name: "ginkgo", Group: GroupConformance, Module: "ginkgo", Package: "github.com/onsi/ginkgo/v2/ginkgo"},
		{Name: "kube-proxy", Group: GroupBench, Module: "kubeproxy", Package: "k8s.io/kubernetes/cmd/kube-proxy",
			VersionOf: "k8s.io/kubernetes", stamp: kubernetesStamp},
		{Name: "golangci-lint", Group: GroupLint, Module: "golangci-lint",
			Package: "github.com/golangci/golangci-lint/v2/cmd/golangci-lint", VersionOf: "github.com/golangci/golangci-lint/v2",
			stamp: func(version string) []string { return []string{"-X main.version=" + version} }},
	}
}

func cniPlugins() []Artifact {
	const module, repo = "cniplugins", "github.com/containernetworking/plugins"
	var list []Artifact
	for _, dir := range []string{"main/bridge", "main/loopback", "ipam/host-local", "meta/portmap"} {
		list = append(list, Artifact{Name: path.Base(dir), Group: GroupCNI, Module: module,
			Package: repo + "/plugins/" + dir, VersionOf: repo})
	}
	return list
}

// kubernetesStamp sets what `kubectl version` and the API's /version show; an
// unset version would make components refuse to talk to each other. Commit and
// date are fixed, so that the same sources give the same file.
func kubernetesStamp(version string) []string {
	major, minor, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	var flags []string
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		for _, kv := range []string{
			"gitVersion=" + version, "gitMajor=" + major, "gitMinor=" + minor,
			"gitCommit=" + strings.Repeat("0", 40), "gitTreeState=clean", "buildDate=1970-01-01T00:00:00Z",
		} {
			flags = append(flags, "-X "+pkg+"."+kv)
		}
	}
	return flags
}

// Names returns the names of all artifacts of the groups, in building order.
func Names(groups ...string) []string {
	var names []string
	for _, a := range All() {
		if slices.Contains(groups, a.Group) {
			names = append(names, a.Name)
		}
	}
	return names
}

// pick returns the named artifacts in building order, each once.
func pick(names []string) ([]Artifact, error) {
	all := All()
	for _, name := range names {
		if !slices.ContainsFunc(all, func(a Artifact) bool { return a.Name == name }) {
			return nil, fmt.Errorf("unknown artifact %q; known are %s", name,
				strings.Join(Names(GroupLab, GroupConformance, GroupLint, GroupBench), ", "))
		}
	}
	return slices.DeleteFunc(all, func(a Artifact) bool { return !slices.Contains(names, a.Name) }), nil
}
