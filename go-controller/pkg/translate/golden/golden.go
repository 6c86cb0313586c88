// Package golden compares desired rows with golden files: Kubernetes YAML in, rows out as text. It is used by
// the tests of translators only.
package golden

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
)

// Update is the flag -update: write the golden files instead of comparing with them.
func Update() *bool { return flag.Bool("update", false, "write the golden files") }

// Cases returns the input files testdata/*.yaml.
func Cases(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata/*.yaml (%v)", err)
	}
	return files
}

// Load decodes the YAML documents of file, the i-th into into[i]; a shorter file leaves the rest alone.
// Unknown keys are an error.
func Load(t *testing.T, file string, into ...any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	documents := strings.Split(string(data), "\n---\n")
	if len(documents) > len(into) {
		t.Fatalf("%s: %d documents, at most %d are read", file, len(documents), len(into))
	}
	for i, d := range documents {
		if err := yaml.UnmarshalStrict([]byte(d), into[i]); err != nil {
			t.Fatalf("%s, document %d: %v", file, i+1, err)
		}
	}
}

// Check compares got with the golden file that belongs to the input file: NAME.yaml has NAME.rows.
func Check(t *testing.T, file string, got nbstate.Desired, update bool) {
	t.Helper()
	CheckText(t, file, Format(got), update)
}

// CheckText does the same with what was formatted already.
func CheckText(t *testing.T, file, text string, update bool) {
	t.Helper()
	path := strings.TrimSuffix(file, ".yaml") + ".rows"
	if update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run with -update to write it)", err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// Format writes desired rows as text: a block a row with its columns that are set, then the members, all sorted.
func Format(d nbstate.Desired) string {
	var blocks, members []string
	for _, r := range d.Rows {
		blocks = append(blocks, formatRow(r))
	}
	for _, m := range d.Members {
		members = append(members, fmt.Sprintf("%s %s += %s\n", m.Parent, m.Column, m.Value))
	}
	sort.Strings(blocks)
	sort.Strings(members)
	return strings.Join(blocks, "\n") + "\n" + strings.Join(members, "")
}

func formatRow(r nbstate.Row) string {
	v := reflect.ValueOf(r.Model).Elem()
	var lines []string
	for i := range v.NumField() {
		f := v.Field(i)
		if f.IsZero() || (f.Kind() == reflect.Map || f.Kind() == reflect.Slice) && f.Len() == 0 {
			continue
		}
		if f.Kind() == reflect.Pointer {
			f = f.Elem()
		}
		lines = append(lines, fmt.Sprintf("  %s: %s\n", v.Type().Field(i).Tag.Get("ovsdb"), formatValue(f)))
	}
	sort.Strings(lines)
	return fmt.Sprintf("%s %s\n%s", v.Type().Name(), r.ID, strings.Join(lines, ""))
}

func formatValue(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Map:
		var pairs []string
		for _, k := range v.MapKeys() {
			pairs = append(pairs, fmt.Sprintf("%s=%v", k, v.MapIndex(k)))
		}
		sort.Strings(pairs)
		return strings.Join(pairs, ", ")
	case reflect.Slice:
		var items []string
		for i := range v.Len() {
			items = append(items, fmt.Sprint(v.Index(i)))
		}
		return strings.Join(items, ", ")
	default:
		return fmt.Sprint(v)
	}
}
