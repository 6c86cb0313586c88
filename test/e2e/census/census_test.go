package census

import "testing"

func TestDiff(t *testing.T) {
	before := Census{"port": {"a", "b"}, "route": {"r", "r"}}
	for _, tc := range []struct {
		name string
		now  Census
		want string
	}{
		{"the same", Census{"port": {"a", "b"}, "route": {"r", "r"}}, ""},
		{"one leaked", Census{"port": {"a", "b", "c"}, "route": {"r", "r"}}, "1 more of port: [c]"},
		{"a repetition", Census{"port": {"a", "b"}, "route": {"r", "r", "r"}}, "1 more of route: [r]"},
		{"a kind gone", Census{"port": {"a", "b"}}, "2 fewer of route: [r r]"},
		{"another in its place", Census{"port": {"a", "c"}, "route": {"r", "r"}}, "1 fewer of port: [b]\n1 more of port: [c]"},
	} {
		if got := tc.now.Diff(before); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}
