package conformance

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func junit(t *testing.T, cases ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "junit_01.xml")
	text := `<?xml version="1.0"?><testsuites><testsuite name="Kubernetes">` + strings.Join(cases, "") + `</testsuite></testsuites>`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func testcase(name, status, skipped string) string {
	inner := ""
	if skipped != "" {
		inner = `<skipped message="` + skipped + `"></skipped>`
	}
	return `<testcase name="` + name + `" status="` + status + `" time="1">` + inner + `</testcase>`
}

func TestWriteResults(t *testing.T) {
	const (
		serves = "[It] [sig-network] Services should serve a &lt;basic&gt; endpoint [Conformance] [sig-network, Conformance]"
		ports  = "[It] [sig-network] Services should have ports [sig-network]"
		names  = "[It] [sig-network] DNS HostNetwork should resolve names [Slow] [sig-network, Slow]"
		sctp   = "[It] [sig-network] Services should allow an SCTP service [sig-network]"
		zones  = "[It] [sig-network] Topology Hints should distribute endpoints [sig-network]"
	)
	whole := junit(t, testcase("[SynchronizedBeforeSuite]", "passed", ""),
		testcase(serves, "passed", ""), testcase(ports, "failed", ""), testcase(names, "timedout", ""),
		testcase(sctp, "skipped", "skipped"), testcase(zones, "skipped", "skipped - Need nodes in three zones"),
		testcase("[It] [sig-storage] Disks should turn [sig-storage]", "passed", ""))
	alone := junit(t, testcase(serves, "skipped", "skipped"), testcase(ports, "passed", ""), testcase(names, "skipped", "skipped"))
	ipv6 := junit(t, testcase(serves, "passed", ""))
	columns := []Column{{"IPv4", []string{whole, alone}}, {"IPv6", []string{ipv6}}}
	reasons := Reasons{
		LeftOut: []Reason{{regexp.MustCompile(`SCTP`), "No SCTP"}},
		Failed:  []Reason{{regexp.MustCompile(`resolve`), "Too slow."}},
	}
	var out strings.Builder
	if err := WriteResults(&out, columns, regexp.MustCompile(`^\[sig-network\]`), reasons); err != nil {
		t.Fatal(err)
	}
	want := `| Passed of those that ran | IPv4 | IPv6 |
|---|---|---|
| DNS HostNetwork | 0 of 1 | – |
| Services | 2 of 2 | 1 of 1 |
| **all** | 2 of 3 | 1 of 1 |

### Failed

Too slow:

- DNS HostNetwork should resolve names [Slow]

### Left out

Need nodes in three zones:

- Topology Hints should distribute endpoints

No SCTP:

- Services should allow an SCTP service

### DNS HostNetwork

| Spec | IPv4 | IPv6 |
|---|---|---|
| DNS HostNetwork should resolve names [Slow] | **FAIL** | – |

### Services

| Spec | IPv4 | IPv6 |
|---|---|---|
| Services should have ports | pass² | – |
| Services should serve a &lt;basic> endpoint [Conformance] | pass | pass |

`
	if got := out.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// A list that leaves specs out, or lets them fail, without saying why would look better than it is.
func TestWriteResultsWantsReasons(t *testing.T) {
	for name, spec := range map[string]string{
		"left out": testcase("[It] [sig-network] Services should be there [sig-network]", "skipped", "skipped"),
		"failed":   testcase("[It] [sig-network] Services should be there [sig-network]", "failed", ""),
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			err := WriteResults(&out, []Column{{"IPv4", []string{junit(t, spec)}}}, regexp.MustCompile(`.`), Reasons{})
			if err == nil || !strings.Contains(err.Error(), "should be there") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestAreas(t *testing.T) {
	for name, want := range map[string]string{
		"DNS HostNetwork spec.Hostname field is silently ignored":                                                                 "DNS HostNetwork",
		"API Server should provide secure master service [Conformance]":                                                           "API Server",
		"HostPort validates that there is no conflict between pods [LinuxOnly] [Conformance]":                                     "HostPort",
		"IngressClass [Feature:Ingress] should set default value on new IngressClass [Serial]":                                    "IngressClass",
		"Networking Granular Checks: Services should function for pod-Service: http":                                              "Networking Granular Checks: Services",
		"Proxy version v1 A set of valid responses are returned for both pod and service Proxy [Conformance]":                     "Proxy version v1",
		"[Feature:IPv6DualStack] should have at least one dual-stack node":                                                        "Dual stack",
		"[Feature:IPv6DualStack] Granular Checks: Services Secondary IP Family [LinuxOnly] should function for pod-Service: http": "Dual stack Granular Checks: Services Secondary IP Family",
	} {
		if got := area(name); got != want {
			t.Errorf("%q: area %q, want %q", name, got, want)
		}
	}
}
