package telemetry

import (
	"cmp"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

// Version and revision are set by the linker where the program is built without Go's own stamp: make build does.
var version, revision string

// build is what is known of the running program's making.
func build() (v, r string) {
	v, r = "unknown", "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		v = cmp.Or(info.Main.Version, v)
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				r = s.Value
			}
		}
	}
	return cmp.Or(version, v), cmp.Or(revision, r)
}

// Version is that of the running program and, behind a space, the revision it was built from; "unknown" stands for what is not known.
func Version() string {
	v, r := build()
	return v + " " + r
}

// BuildInfo collects ovnkube_build_info: 1, with version and revision of the running program as the linker or Go has stamped them into it; "unknown" where
// it was built without.
func BuildInfo() prometheus.Collector {
	v, r := build()
	labels := prometheus.Labels{"version": v, "revision": r, "goversion": runtime.Version()}
	g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "ovnkube", Name: "build_info", Help: "Always 1; the labels say what is running.", ConstLabels: labels})
	g.Set(1)
	return g
}
