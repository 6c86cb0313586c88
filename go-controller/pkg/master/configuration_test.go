package master

import (
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ovnkube/ovnkube/go-controller/pkg/nbsync"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

func TestConfiguration(t *testing.T) {
	c := newConfiguration(func() *nbdb.NBGlobal {
		return &nbdb.NBGlobal{NbCfg: 3, SbCfg: 2, HvCfg: 1, NbCfgTimestamp: 1_800_000_000_500, SbCfgTimestamp: 1_700_000_000_000}
	})
	want := `# HELP ovnkube_master_ovn_configuration Number of the configuration (nb_cfg) that was asked for (northbound), that ovn-northd has written (southbound), and that all nodes have (hypervisors).
# TYPE ovnkube_master_ovn_configuration gauge
ovnkube_master_ovn_configuration{stage="hypervisors"} 1
ovnkube_master_ovn_configuration{stage="northbound"} 3
ovnkube_master_ovn_configuration{stage="southbound"} 2
# HELP ovnkube_master_ovn_configuration_timestamp_seconds When that number was reached, in seconds since 1970; 0: never.
# TYPE ovnkube_master_ovn_configuration_timestamp_seconds gauge
ovnkube_master_ovn_configuration_timestamp_seconds{stage="hypervisors"} 0
ovnkube_master_ovn_configuration_timestamp_seconds{stage="northbound"} 1.8000000005e+09
ovnkube_master_ovn_configuration_timestamp_seconds{stage="southbound"} 1.7e+09
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	o, err := nbsync.ConnectOptions([]string{"unix:/x"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	watchConfiguration(&o)
	for _, m := range o.Monitors {
		if m.Table == nbdb.NBGlobalTable && slices.Contains(m.Columns, "hv_cfg_timestamp") {
			return
		}
	}
	t.Error("the columns are not asked for")
}
