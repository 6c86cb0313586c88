package datapath

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestResolve(t *testing.T) {
	broken := errors.New("broken")
	cases := []struct {
		name, setting string
		has           bool
		loadable      bool
		failure       error
		want          string
		err           string
	}{
		{name: "auto, module loaded", setting: "auto", has: true, want: "system"},
		{name: "auto, module can be loaded", setting: "auto", loadable: true, want: "system"},
		{name: "auto, no module", setting: "auto", want: "netdev"},
		{name: "system, module", setting: "system", has: true, want: "system"},
		{name: "system, no module", setting: "system", err: "use auto or netdev"},
		{name: "netdev in spite of the module", setting: "netdev", has: true, want: "netdev"},
		{name: "the kernel does not answer", setting: "auto", failure: broken, err: "broken"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			has := c.has
			h := Host{
				HasFamily: func(string) (bool, error) { return has, c.failure },
				LoadModule: func(context.Context, string) error {
					if !c.loadable {
						return errors.New("not found")
					}
					has = true
					return nil
				},
			}
			got, reason, err := h.Resolve(t.Context(), c.setting)
			if got != c.want || (err == nil) != (c.err == "") || (err != nil && !strings.Contains(err.Error(), c.err)) {
				t.Errorf("got %q, %v", got, err)
			}
			if err == nil && reason == "" {
				t.Error("no reason given")
			}
		})
	}
}
