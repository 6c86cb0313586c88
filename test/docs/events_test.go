package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every reason of a warning that the code gives is explained, and no other is.
func TestEvents(t *testing.T) {
	inCode := regexp.MustCompile(`(?m)^\s*(?:const )?reason\w*\s*=\s*"([A-Z]\w+)"|\.Warn\([^\n]*, "([A-Z]\w+)"`)
	var given []string
	err := filepath.WalkDir(filepath.Join(root, "go-controller/pkg"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range inCode.FindAllStringSubmatch(string(data), -1) {
			given = append(given, m[1]+m[2])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(root, "docs/reference/events.md"))
	if err != nil {
		t.Fatal(err)
	}
	var explained []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z]\\w+)` \\|").FindAllStringSubmatch(string(data), -1) {
		explained = append(explained, m[1])
	}
	slices.Sort(given)
	slices.Sort(explained)
	if given = slices.Compact(given); !slices.Equal(given, explained) {
		t.Errorf("warnings in the code: %q\nin docs/reference/events.md: %q", given, explained)
	}
}
