package translate

import (
	"os/exec"
	"strings"
	"testing"
)

// Translators do no I/O: they know the database's models, not its client.
func TestForbiddenImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "./topology", "./pod", "./service").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, out)
	}
	for path := range strings.Lines(string(out)) {
		path = strings.TrimSpace(path)
		for forbidden, reason := range map[string]string{
			"github.com/ovn-org/libovsdb/client":                  "only pkg/ovsdb talks to databases",
			"github.com/ovnkube/ovnkube/go-controller/pkg/nbsync": "only the master runs the reconciler",
			"github.com/ovnkube/ovnkube/go-controller/pkg/config": "translators get facts, not configuration",
		} {
			if path == forbidden {
				t.Errorf("a translator imports %s: %s", path, reason)
			}
		}
	}
}
