package image

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ovnkube/ovnkube/dist/images"
	"github.com/ovnkube/ovnkube/test/lab/artifact"
)

// productArchive starts the names of archives with the product's image.
const productArchive = "ovnkube"

// Product returns the path of an archive with the product's own image, as dist/images/Dockerfile makes it: Debian with Open vSwitch
// and OVN in one layer, the project's executables from binDir in another. tag is what the image is tagged with. Making Debian's
// part needs root, and the packages of artifact.GroupRoot.
func Product(ctx context.Context, o artifact.Options, binDir, tag string) (string, error) {
	root, err := artifact.EnsureRoot(ctx, o, images.Suite)
	if err != nil {
		return "", err
	}
	im, err := productImage(root, binDir, tag)
	if err != nil {
		return "", err
	}
	return ensure(o, productArchive, []Image{im})
}

func productImage(root, binDir, tag string) (Image, error) {
	debian, err := FromTree(root, images.LeaveOut())
	if err != nil {
		return Image{}, err
	}
	var own Layer
	for name, path := range images.Binaries() {
		source := filepath.Join(binDir, name)
		if _, err := os.Stat(source); err != nil {
			return Image{}, fmt.Errorf("the project's executables: %w (make build makes them)", err)
		}
		own = append(own, File{Path: strings.TrimPrefix(path, "/"), Mode: 0o755, Source: source})
	}
	return Image{Names: []string{images.Repository + ":" + tag}, Layers: []Layer{debian, own}, Cmd: []string{"/usr/bin/ovnkube", "--help"},
		Labels: map[string]string{v1.AnnotationTitle: "ovnkube", v1.AnnotationVersion: tag,
			v1.AnnotationSource: "https://github.com/ovnkube/ovnkube", v1.AnnotationLicenses: "Apache-2.0"}}, nil
}

// Names returns the full names, with tags, of the images in an archive of the OCI image layout, which "docker save" writes too.
func Names(archive string) ([]string, error) {
	f, err := os.Open(archive)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s is no archive of an OCI image layout: it has no %s", archive, v1.ImageIndexFile)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", archive, err)
		}
		if h.Name != v1.ImageIndexFile {
			continue
		}
		var index v1.Index
		if err := json.NewDecoder(r).Decode(&index); err != nil {
			return nil, fmt.Errorf("%s of %s: %w", v1.ImageIndexFile, archive, err)
		}
		var names []string
		for _, m := range index.Manifests {
			if name := m.Annotations[containerdName]; name != "" {
				names = append(names, name)
			}
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("%s does not say the names of its images (annotation %s)", archive, containerdName)
		}
		return names, nil
	}
}
