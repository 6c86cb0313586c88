package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/ovnkube/ovnkube/test/lab/artifact"
	"github.com/ovnkube/ovnkube/test/lab/cluster"
	"github.com/ovnkube/ovnkube/test/lab/image"
)

func newImage(name *string) *cobra.Command {
	c := &cobra.Command{Use: "image", Short: "Container images"}
	c.AddCommand(newImageLoad(name), newImageBuild())
	return c
}

func newImageLoad(name *string) *cobra.Command {
	return &cobra.Command{Use: "load ARCHIVE", Short: "Import an archive of images into every node that runs", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := cluster.Open(*name)
			if err != nil {
				return err
			}
			return l.LoadImages(c.Context(), args[0])
		}}
}

func newImageBuild() *cobra.Command {
	var output, tag, binDir string
	c := &cobra.Command{Use: "build", Short: "Make the product's image as an OCI archive, without a container engine", Args: cobra.NoArgs,
		Long: `Makes what dist/images/Dockerfile makes: Debian with Open vSwitch and OVN, by debootstrap,
and the project's executables. The archive (OCI image layout) can be imported as it is:
  ctr -n k8s.io images import FILE     podman load -i FILE     skopeo copy oci-archive:FILE docker://…
Debian's part is made once; it needs root.`,
		RunE: func(c *cobra.Command, _ []string) error { return buildImage(c.Context(), output, tag, binDir) }}
	f := c.Flags()
	f.StringVarP(&output, "output", "o", filepath.Join("_output", "image", "ovnkube.tar"), "the archive")
	f.StringVar(&tag, "tag", cluster.DefaultTag, "the image's tag")
	f.StringVar(&binDir, "bin-dir", filepath.Join("_output", "bin"), "folder with the project's executables")
	return c
}

func buildImage(ctx context.Context, output, tag, binDir string) error {
	o := artifact.Options{Progress: func(e artifact.Event) { fmt.Println(e) }}
	if err := artifact.EnsurePackages(ctx, o, artifact.Packages(artifact.GroupRoot)...); err != nil {
		return err
	}
	archive, err := image.Product(ctx, o, binDir, tag)
	if err != nil {
		return err
	}
	names, err := image.Names(archive)
	if err != nil {
		return err
	}
	size, err := copyArchive(archive, output)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d MB, %v\n", output, size>>20, names)
	if err := cluster.PruneImages(o); err != nil { // The archive is made all the same.
		fmt.Fprintln(os.Stderr, "images of earlier builds stay in the cache:", err)
	}
	return nil
}

// copyArchive copies an archive, which appears under its name only when it is complete, and returns its size in bytes.
func copyArchive(from, to string) (size int64, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return 0, err
	}
	out, err := os.CreateTemp(filepath.Dir(to), ".tmp-"+filepath.Base(to)+"-")
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(out.Name()))
		}
	}()
	size, err = io.Copy(out, in)
	if err = errors.Join(err, out.Chmod(0o644), out.Close()); err != nil {
		return 0, err
	}
	return size, os.Rename(out.Name(), to)
}
