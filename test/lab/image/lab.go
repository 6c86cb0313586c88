package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/ovnkube/ovnkube/test/lab/artifact"
)

// testImages is the registry path of the upstream test images.
const testImages = "registry.k8s.io/e2e-test-images/"

// Names of the images in the base archive.
const (
	// Pause is the sandbox image: containerd's pinned_images.sandbox.
	Pause = "registry.k8s.io/pause:3.10.2"
	// Agnhost is the upstream test program with a busybox userland. Importing the
	// conformance archive replaces it with one that has the upstream image's tools.
	Agnhost = testImages + "agnhost:" + artifact.AgnhostVersion
	// Busybox is a shell and the usual small tools.
	Busybox = testImages + "busybox:1.37.0-1"
	// corednsRepository gets the version of the binary as its tag.
	corednsRepository = "registry.k8s.io/coredns/coredns"
)

// CoreDNS returns the name of the CoreDNS image that Base makes from the set.
func CoreDNS(set artifact.Set) string { return corednsRepository + ":" + set.Version("coredns") }

// Base returns the path of the archive with the images a lab always needs: Pause,
// CoreDNS, Agnhost and Busybox. Every node gets it at boot, so it is small. It is
// written once and reused while its content would be the same. Debian packages of
// artifact.GroupLab must be there.
func Base(ctx context.Context, o artifact.Options, set artifact.Set) (string, error) {
	userland, err := baseLayers(ctx, set)
	if err != nil {
		return "", err
	}
	return ensure(o, "base", []Image{
		pauseImage(set),
		corednsImage(set),
		{Names: []string{Agnhost}, Layers: userland, Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"}},
		{Names: []string{Busybox}, Layers: userland, Cmd: []string{"sh"}},
	})
}

// Conformance returns the path of the archive with all images the upstream network
// tests use, for import after Base, with which it shares layers. Artifacts and
// Debian packages of artifact.GroupConformance must be there.
func Conformance(ctx context.Context, o artifact.Options, set artifact.Set) (string, error) {
	kubernetes, err := artifact.ModuleDir(ctx, o, "kubernetes", "k8s.io/kubernetes")
	if err != nil {
		return "", err
	}
	if err := checkAgnhostVersion(kubernetes); err != nil {
		return "", err
	}
	layers, err := baseLayers(ctx, set)
	if err != nil {
		return "", err
	}
	upstream, err := upstreamLayer(set, kubernetes)
	if err != nil {
		return "", err
	}
	layers = append(layers, upstream.without(layers...))
	var images []Image
	add := func(entrypoint, cmd []string, names ...string) {
		images = append(images, Image{Names: names, Layers: layers, Entrypoint: entrypoint, Cmd: cmd})
	}
	add([]string{"/agnhost"}, []string{"pause"}, Agnhost, testImages+"agnhost:2.55")
	add(nil, []string{"sleep", "infinity"}, testImages+"glibc-dns-testing:2.0.0")
	add(nil, []string{"/agnhost", "test-webserver"}, testImages+"nginx:1.15-4", testImages+"nginx:1.27-0")
	add(nil, []string{"sh"}, Busybox, testImages+"busybox:1.36.1-1", "registry.k8s.io/build-image/distroless-iptables:v0.9.6")
	images = append(images, FromBinary(testImages+"regression-issue-74839:1.4", set.Path("regression-issue-74839")))
	return ensure(o, "conformance", images)
}

func pauseImage(set artifact.Set) Image {
	im := FromBinary(Pause, set.Path("pause"))
	im.Names = append(im.Names, "registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10.1")
	return im
}

func corednsImage(set artifact.Set) Image {
	return FromBinary(CoreDNS(set), set.Path("coredns"))
}

// checkAgnhostVersion compares our constant with the pinned Kubernetes sources.
func checkAgnhostVersion(kubernetes string) error {
	file := filepath.Join(kubernetes, "test", "images", "agnhost", "VERSION")
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("version of agnhost: %w", err)
	}
	if got := strings.TrimSpace(string(data)); got != artifact.AgnhostVersion {
		return fmt.Errorf("%s says %s: set artifact.AgnhostVersion (now %s) to it", file, got, artifact.AgnhostVersion)
	}
	return nil
}

// staticLayer has agnhost and busybox, both static, and the files around them.
func staticLayer(ctx context.Context, set artifact.Set) (Layer, error) {
	const busybox = "/bin/busybox"
	applets, err := exec.CommandContext(ctx, busybox, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("list of %s's commands (Debian package busybox-static): %w", busybox, err)
	}
	layer := Layer{
		{Path: "agnhost", Mode: 0o755, Source: set.Path("agnhost")},
		{Path: "agnhost-2", Link: "agnhost"},
		{Path: "bin/busybox", Mode: 0o755, Source: busybox},
		{Path: "usr/bin/env", Link: "/bin/busybox"},
		{Path: "etc/nsswitch.conf", Data: "hosts: files dns\n"},
		// The users and groups some upstream tests expect inside the image.
		{Path: "etc/passwd", Data: "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n" +
			"user-defined-in-image:x:1000:1000::/home/user:/bin/sh\n"},
		{Path: "etc/group", Data: "root:x:0:\nnogroup:x:65534:\ngroup-defined-in-image:x:50000:user-defined-in-image\n"},
		{Path: "tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
		{Path: "var/run", Link: "/run"},
	}
	for _, dir := range []string{"dev", "home", "proc", "root", "run", "sys", "uploads"} {
		layer = append(layer, File{Path: dir, Mode: fs.ModeDir | 0o755})
	}
	for _, name := range strings.Fields(string(applets)) {
		if name != "busybox" {
			layer = append(layer, File{Path: "bin/" + name, Link: "busybox"})
		}
	}
	return layer, nil
}

// toolTable says where a program of this machine goes in an image.
type toolTable []struct{ source, dst string }

// baseTools are what people type first, in versions that work: busybox' wget may
// crash when a timeout is given, and its shell runs its own wget without looking
// at PATH.
func baseTools() toolTable {
	return toolTable{{"/bin/dash", "bin/sh"}, {"/usr/bin/curl", "usr/bin/curl"}, {"/usr/bin/wget", "usr/bin/wget.gnu"}}
}

// upstreamTools are what the upstream agnhost image has besides, and iperf3.
func upstreamTools() toolTable {
	return toolTable{
		{"/bin/nc.openbsd", "bin/nc"}, {"/bin/ip", "bin/ip"}, {"/bin/ss", "bin/ss"}, {"/bin/ping", "bin/ping"},
		{"/bin/bash", "bin/bash"}, {"/usr/bin/dig", "usr/bin/dig"}, {"/usr/bin/iperf", "usr/bin/iperf"},
		{"/usr/bin/iperf3", "usr/bin/iperf3"}, {"/usr/bin/tcpdump", "usr/bin/tcpdump"},
		{"/usr/sbin/conntrack", "usr/sbin/conntrack"}, {"/usr/bin/getent", "usr/bin/getent"},
	}
}

// baseLayers has the static programs and, above them, the base tools.
func baseLayers(ctx context.Context, set artifact.Set) ([]Layer, error) {
	static, err := staticLayer(ctx, set)
	if err != nil {
		return nil, err
	}
	tools, err := baseTools().layer()
	if err != nil {
		return nil, err
	}
	// GNU wget tries 20 times by default, busybox' once.
	wget := File{Path: "bin/wget", Mode: 0o755, Data: "#!/bin/sh\nexec /usr/bin/wget.gnu -t 1 \"$@\"\n"}
	return []Layer{static, append(tools, wget)}, nil
}

// upstreamLayer has what the upstream tests use and the base layers lack.
func upstreamLayer(set artifact.Set, kubernetes string) (Layer, error) {
	tools, err := upstreamTools().layer()
	if err != nil {
		return nil, err
	}
	porter := filepath.Join(kubernetes, "test", "images", "agnhost", "porter")
	return append(tools,
		File{Path: "coredns", Mode: 0o755, Source: set.Path("coredns")},
		File{Path: "localhost.crt", Source: filepath.Join(porter, "localhost.crt")},
		File{Path: "localhost.key", Source: filepath.Join(porter, "localhost.key")}), nil
}

// ensure returns the archive <cache>/images/<name>-<key>.tar with the images and
// writes it if it is not there.
func ensure(o artifact.Options, name string, images []Image) (string, error) {
	cache, err := o.CacheDir()
	if err != nil {
		return "", err
	}
	key, err := archiveKey(images)
	if err != nil {
		return "", fmt.Errorf("images of %s: %w", name, err)
	}
	dir := filepath.Join(cache, imagesFolder)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("images of %s: %w", name, err)
	}
	file := filepath.Join(dir, name+"-"+key+".tar")
	if use(file) {
		return file, nil
	}
	event, start := artifact.Event{Name: "images " + name}, time.Now()
	if o.Progress != nil {
		o.Progress(event)
	}
	if err := Write(file, images); err != nil {
		return "", err
	}
	if o.Progress != nil {
		event.Done, event.Elapsed = true, time.Since(start)
		o.Progress(event)
	}
	return file, nil
}

// layoutVersion changes when Write writes the same images differently.
const layoutVersion = 2

// archiveKey identifies the archive's content without reading big files.
func archiveKey(images []Image) (string, error) {
	h := sha256.New()
	h.Write(fmt.Appendln(nil, layoutVersion))
	for _, im := range images {
		h.Write(fmt.Appendf(nil, "%q %q %q %q\n", im.Names, im.Entrypoint, im.Cmd, im.Labels))
		for _, layer := range im.Layers {
			files, err := layer.complete()
			if err != nil {
				return "", err
			}
			print, err := files.fingerprint()
			if err != nil {
				return "", err
			}
			h.Write(fmt.Appendf(nil, "%d %s", len(print), print))
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}
