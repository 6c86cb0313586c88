package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const (
	valuesDocument = "docs/reference/values.md"
	valuesMarker   = "<!-- From dist/helm/ovnkube/values.yaml: cd test && go test ./docs -update -->\n"
)

// The reference of the chart's values is what values.yaml says of itself; -update writes it.
func TestValues(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "dist/helm/ovnkube/values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var values yaml.Node
	if err := yaml.Unmarshal(data, &values); err != nil {
		t.Fatal(err)
	}
	got := describeValues(t, values.Content[0])
	name := filepath.Join(root, valuesDocument)
	document, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, after, found := strings.Cut(string(document), valuesMarker)
	if !found {
		t.Fatalf("%s lacks the line %q", valuesDocument, valuesMarker)
	}
	if *update {
		if err := os.WriteFile(name, []byte(before+valuesMarker+got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(got, after); diff != "" {
		t.Errorf("%s: in folder test, run go test ./docs -update (-values.yaml +document):\n%s", valuesDocument, diff)
	}
}

// A comment belongs to the key below it, also of a group; flow style stays one value.
func TestDescribeValues(t *testing.T) {
	var values yaml.Node
	if err := yaml.Unmarshal([]byte("# About a.\na:\n  # About b,\n  # still.\n  b: \"\"\n  c: {d: [1, x]}\n  # About e.\n  e:\n    f: no|yes\n# Alone.\ng: 1\n"), &values); err != nil {
		t.Fatal(err)
	}
	want := "\n## a\n\nAbout a.\n\n" + valuesHeader + "| `a.b` | `\"\"` | About b, still. |\n| `a.c` | `{d: [1, x]}` |  |\n| `a.e.f` | `no\\|yes` | About e. |\n" +
		"\n## g\n\nAlone.\n\n" + valuesHeader + "| `g` | `1` |  |\n"
	if diff := cmp.Diff(want, describeValues(t, values.Content[0])); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

const valuesHeader = "| Value | Default | Meaning |\n|---|---|---|\n"

// describeValues writes a section for each key of the top, and a row for each value below it.
func describeValues(t *testing.T, top *yaml.Node) string {
	var b strings.Builder
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		comment := commentText(key.HeadComment)
		if i == 0 { // what stands above the first key is about the file as well
			if _, own, found := strings.Cut(key.HeadComment, "\n\n"); found {
				comment = commentText(own)
			}
		}
		fmt.Fprintf(&b, "\n## %s\n", key.Value)
		if comment != "" {
			fmt.Fprintf(&b, "\n%s\n", comment)
		}
		fmt.Fprintf(&b, "\n%s", valuesHeader)
		valueRows(t, &b, key.Value, "", value)
	}
	return b.String()
}

func valueRows(t *testing.T, b *strings.Builder, path, comment string, value *yaml.Node) {
	if value.Kind != yaml.MappingNode || value.Style&yaml.FlowStyle != 0 {
		fmt.Fprintf(b, "| `%s` | `%s` | %s |\n", path, cell(oneLine(t, value)), cell(comment))
		return
	}
	for i := 0; i+1 < len(value.Content); i += 2 {
		key := value.Content[i]
		own := commentText(key.HeadComment)
		if i == 0 && own == "" {
			own = comment
		}
		valueRows(t, b, path+"."+key.Value, own, value.Content[i+1])
	}
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// oneLine is a value as it stands in the file, without comments.
func oneLine(t *testing.T, value *yaml.Node) string {
	n := *value
	if n.Kind != yaml.ScalarNode {
		n.Style |= yaml.FlowStyle
	}
	out, err := yaml.Marshal(&n)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func commentText(comment string) string {
	var words []string
	for line := range strings.SplitSeq(comment, "\n") {
		words = append(words, strings.Fields(strings.TrimLeft(line, "# "))...)
	}
	return strings.ReplaceAll(strings.Join(words, " "), "<", "&lt;")
}
