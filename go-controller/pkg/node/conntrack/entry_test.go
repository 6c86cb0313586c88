package conntrack

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	at := netip.MustParseAddrPort
	for line, want := range map[string]Entry{
		"udp,orig=(src=10.128.0.3,dst=172.30.0.10,sport=40000,dport=53),reply=(src=10.128.0.5,dst=10.128.0.3,sport=5353,dport=40000),zone=8,labels=0x1": {
			8, at("10.128.0.3:40000"), at("172.30.0.10:53"), at("10.128.0.5:5353"),
		},
		"udp,orig=(src=fd01::3,dst=fd02::a,sport=40000,dport=53),reply=(src=fd01::5,dst=fd01::3,sport=5353,dport=40000),zone=8,mark=2": {
			8, at("[fd01::3]:40000"), at("[fd02::a]:53"), at("[fd01::5]:5353"),
		},
		"udp,orig=(src=10.128.0.3,dst=10.128.0.5,sport=40000,dport=53),reply=(src=10.128.0.5,dst=10.128.0.3,sport=53,dport=40000)": {
			0, at("10.128.0.3:40000"), at("10.128.0.5:53"), at("10.128.0.5:53"),
		},
	} {
		got, ok, err := parse(line)
		if err != nil || !ok || got != want {
			t.Errorf("%s: %+v, %v, %v; want %+v", line, got, ok, err, want)
		}
		if bad, _, err := parse(strings.Replace(line, "sport=", "sp=", 1)); err == nil {
			t.Errorf("without a port it is read as %+v", bad)
		}
	}
	for _, other := range []string{"", "tcp,orig=(src=10.1.1.1,dst=10.1.1.2,sport=1,dport=2),reply=(src=10.1.1.2,dst=10.1.1.1,sport=2,dport=1)", "icmp,orig=(src=10.1.1.1,dst=10.1.1.2,id=1,type=8,code=0)"} {
		if got, ok, err := parse(other); ok || err != nil {
			t.Errorf("%s: %+v, %v, %v", other, got, ok, err)
		}
	}
}

// A line that cannot be read, and a connection that cannot be ended, keep none of the others.
func TestFlushInSpiteOfErrors(t *testing.T) {
	const line = "udp,orig=(src=10.128.0.3,dst=172.30.0.10,sport=4000%d,dport=53),reply=(src=10.128.0.5,dst=10.128.0.3,sport=5353,dport=40000),zone=8\n"
	list := "udp,orig=(src=?" + strings.Repeat("x", 1<<17) + ")\n" + fmt.Sprintf(line, 1) + fmt.Sprintf(line, 2) + fmt.Sprintf(line, 3)
	refused := errors.New("refused")
	ended, err := flush([]byte(list), func(Entry) bool { return true }, func(e Entry) error {
		if e.Source.Port() == 40002 {
			return refused
		}
		return nil
	})
	if len(ended) != 2 || ended[0].Source.Port() != 40001 || ended[1].Source.Port() != 40003 {
		t.Errorf("ended %v", ended)
	}
	if !errors.Is(err, refused) || errors.Is(err, ErrNotRead) || !strings.Contains(err.Error(), "src=?") {
		t.Errorf("%.100v", err)
	}
}
