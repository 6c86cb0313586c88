package release

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOverride(t *testing.T) {
	got, err := Override(map[string]any{"image": map[string]any{"tag": "a", "repository": "r"}}, "image.tag=b", "node.args={x,y}", "on=true")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"image": map[string]any{"tag": "b", "repository": "r"}, "node": map[string]any{"args": []any{"x", "y"}}, "on": true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := Override(nil, "image.tag"); err == nil {
		t.Error("a setting without a value was accepted")
	}
}
