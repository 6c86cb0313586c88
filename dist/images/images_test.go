package images

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The image that people build and the one the lab runs come from the same lists.
func TestDockerfileMakesTheSameImage(t *testing.T) {
	data, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	wants := []string{"FROM debian:" + Suite + "-slim", "/lists/packages", "/lists/leave-out"}
	for name, file := range Binaries() {
		wants = append(wants, "COPY --from=build /out/"+name+" "+file+"\n")
	}
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("the Dockerfile does not have %q", want)
		}
	}
	if n := strings.Count(text, "COPY --from=build"); n != len(Binaries()) {
		t.Errorf("the Dockerfile copies %d executables, want %d", n, len(Binaries()))
	}
}

func TestLists(t *testing.T) {
	name := regexp.MustCompile(`^[a-z0-9][a-z0-9.+-]+$`)
	for _, p := range Packages() {
		if !name.MatchString(p) {
			t.Errorf("%q is no name of a Debian package", p)
		}
	}
	if !slices.IsSorted(Packages()) {
		t.Errorf("not in order: %v", Packages())
	}
	for _, p := range LeaveOut() {
		if _, err := path.Match(p, "/x"); err != nil || !strings.HasPrefix(p, "/") {
			t.Errorf("%q is no pattern of absolute paths: %v", p, err)
		}
	}
	// A database or identity in the image would be the same on all nodes.
	for _, want := range []string{"/etc/openvswitch/conf.db", "/etc/openvswitch/system-id.conf", "/etc/machine-id"} {
		if !slices.Contains(LeaveOut(), want) {
			t.Errorf("%s is not left out", want)
		}
	}
}
