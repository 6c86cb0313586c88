package docs

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/test/docs/draw"
)

var update = flag.Bool("update", false, "write the pictures")

// The pictures are what package draw draws, and each is well formed.
func TestPictures(t *testing.T) {
	files := map[string]string{filepath.Join(root, "docs/.vitepress/theme/pictures.css"): draw.Stylesheet()}
	for _, p := range draw.All() {
		files[filepath.Join(root, "docs/pictures", p.Name+".svg")] = p.SVG()
		decoder := xml.NewDecoder(strings.NewReader(p.SVG()))
		for {
			if _, err := decoder.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", p.Name, err)
			}
		}
	}
	for name, want := range files {
		if *update {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(got), want); diff != "" {
			t.Errorf("%s: run with -update (-file +drawn):\n%s", name, diff)
		}
	}
}
