package cgroup

import (
	"bufio"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseMountinfo(t *testing.T) {
	const v1 = `22 1 0:20 / /proc rw - proc proc rw
31 30 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw
32 31 0:27 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
33 31 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
34 31 0:29 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
35 31 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
36 31 0:31 / /somewhere/else rw,relatime - cgroup cgroup rw,pids
`
	for _, tc := range []struct {
		name, in string
		want     []Hierarchy
		v1       bool
	}{
		{name: "version 1 with the unified one beside it", in: v1, v1: true, want: []Hierarchy{
			{Path: "/sys/fs/cgroup/cpuset", Options: "cpuset"},
			{Path: "/sys/fs/cgroup/cpu,cpuacct", Options: "cpu,cpuacct"},
			{Path: "/sys/fs/cgroup/systemd", Options: "none,name=systemd"},
			{Path: "/sys/fs/cgroup/unified", V2: true},
		}},
		{name: "version 2", in: "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
			want: []Hierarchy{{Path: "/sys/fs/cgroup", V2: true}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parseMountinfo(bufio.NewScanner(strings.NewReader(tc.in)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("hierarchies (-want +got):\n%s", diff)
			}
			if IsV1(got) != tc.v1 {
				t.Errorf("IsV1 = %t, want %t", IsV1(got), tc.v1)
			}
		})
	}
}
