package netfilter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-iptables/iptables"
	nl "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

const (
	// lockSeconds is how long to wait for other users of iptables.
	lockSeconds = 5
	// legacyAudit is how often the rules of iptables-legacy are read: that kernel interface tells nobody of changes.
	legacyAudit = 30 * time.Second
)

// IPTables renders rules as rules of iptables and ip6tables. What there is is read each time, and the difference written
// with iptables-restore.
type IPTables struct {
	v4, v6 *iptables.IPTables
}

// NewIPTables makes a renderer; it touches nothing before Sync.
func NewIPTables() *IPTables { return &IPTables{} }

// Name implements Renderer.
func (r *IPTables) Name() string { return names.NetfilterIPTables }

// Check tells whether iptables can be used. It changes nothing.
func (r *IPTables) Check() error {
	t, err := r.open(true)
	if err != nil {
		return err
	}
	if _, err := t.List(natTable, "POSTROUTING"); err != nil {
		return fmt.Errorf("iptables: %w", err)
	}
	return nil
}

func (r *IPTables) open(v4 bool) (*iptables.IPTables, error) {
	at, protocol := &r.v6, iptables.ProtocolIPv6
	if v4 {
		at, protocol = &r.v4, iptables.ProtocolIPv4
	}
	if *at == nil {
		t, err := iptables.New(iptables.IPFamily(protocol), iptables.Timeout(lockSeconds))
		if err != nil {
			return nil, fmt.Errorf("iptables, IPv%d: %w", family(v4), err)
		}
		*at = t
	}
	return *at, nil
}

// Sync implements Renderer. It looks at everything, whatever was touched.
func (r *IPTables) Sync(ctx context.Context, f Facts, l *Ledger, _ []Key) ([]Change, error) {
	var out []Change
	for _, v4 := range []bool{true, false} {
		var want []chainSpec
		if f.serves(v4) {
			want = chainSpecs(f, l, v4)
		}
		have, err := r.apply(ctx, v4, want)
		if err != nil {
			return out, err
		}
		out = append(out, changes(have, l, v4)...)
	}
	return out, nil
}

// Remove implements Renderer. Where there is no iptables, there is nothing that could be removed.
func (r *IPTables) Remove(ctx context.Context) error {
	for _, v4 := range []bool{true, false} {
		if _, err := r.open(v4); errors.Is(err, exec.ErrNotFound) {
			continue
		}
		if _, err := r.apply(ctx, v4, nil); err != nil {
			return err
		}
	}
	return nil
}

// apply brings one family into order, and returns what was there before.
func (r *IPTables) apply(ctx context.Context, v4 bool, want []chainSpec) (chains, error) {
	t, err := r.open(v4)
	if err != nil {
		if len(want) == 0 && errors.Is(err, exec.ErrNotFound) {
			return nil, nil // the cluster does not have the family, nor has the host
		}
		return nil, err
	}
	have, err := readChains(t)
	if err != nil {
		if len(want) == 0 && hasNoTable(err) {
			return nil, nil
		}
		return nil, err // what cannot be read now need not be empty
	}
	var input bytes.Buffer
	byTable := edits(have, want)
	for _, table := range slices.Sorted(maps.Keys(byTable)) {
		if lines := byTable[table]; len(lines) > 0 {
			fmt.Fprintf(&input, "*%s\n%s\nCOMMIT\n", table, strings.Join(lines, "\n"))
		}
	}
	if input.Len() == 0 {
		return have, nil
	}
	return have, restore(ctx, v4, &input)
}

func readChains(t *iptables.IPTables) (chains, error) {
	places := slices.Clone(hookChains)
	for k := range kinds {
		if p := placeOf(k); !slices.Contains(places, p) {
			places = append(places, p)
		}
	}
	out := chains{}
	for _, p := range places {
		lines, err := t.List(p.table, p.chain)
		if isOurs(p.chain) && isMissing(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list chain %s of table %s: %w", p.chain, p.table, err)
		}
		out[p] = slices.DeleteFunc(lines, func(line string) bool { return !strings.HasPrefix(line, "-A ") })
	}
	return out, nil
}

// isMissing tells whether a chain is not there, or holds what only nft can have put there: it is made anew then. iptables
// on top of nftables calls a chain "incompatible" in both cases.
func isMissing(err error) bool {
	var e *iptables.Error
	return errors.As(err, &e) && (e.IsNotExist() || strings.Contains(e.Error(), "is incompatible"))
}

// hasNoTable tells an error that says that the kernel has not the table, the family or nftables at all. Any other may be over a
// moment later: the lock is taken, memory is short.
func hasNoTable(err error) bool {
	var e *iptables.Error
	none := func(text string) bool { return strings.Contains(e.Error(), text) }
	return errors.As(err, &e) && slices.ContainsFunc([]string{"Table does not exist", "Address family not supported", "Protocol not supported"}, none)
}

func restore(ctx context.Context, v4 bool, input *bytes.Buffer) error {
	program := "ip6tables-restore"
	if v4 {
		program = "iptables-restore"
	}
	cmd := exec.CommandContext(ctx, program, "--noflush", fmt.Sprintf("--wait=%d", lockSeconds))
	cmd.Stdin = input
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, bytes.TrimSpace(out))
	}
	return nil
}

// changes compares what was there with the ledger.
func changes(have chains, l *Ledger, v4 bool) []Change {
	before := map[Key]Change{}
	for p, rules := range have {
		for _, text := range rules {
			if k, to, ok := parseRule(p, text, v4); ok {
				before[k] = Change{Key: k, Was: true, Before: to}
			}
		}
	}
	var out []Change
	for _, k := range l.Keys() {
		if k.V4 != v4 {
			continue
		}
		c := before[k]
		delete(before, k)
		c.Key, c.Is = k, true
		c.After, _ = l.Get(k)
		if c.Was && c.Before == c.After {
			continue
		}
		out = append(out, c)
	}
	return append(out, slices.SortedFunc(maps.Values(before), func(a, b Change) int { return a.compare(b.Key) })...)
}

// Watch implements Renderer. iptables on top of nftables is announced as all changes of nftables are; the older kind is
// not, so it is looked at from time to time.
func (r *IPTables) Watch(ctx context.Context, notify func()) error {
	begin := func() error { notify(); return nil }
	handle := func(m nl.Message) {
		if concerns(m) {
			notify()
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	if out, err := exec.CommandContext(ctx, "iptables", "--version").Output(); err == nil && bytes.Contains(out, []byte("legacy")) {
		wg.Go(func() { audit(ctx, notify) })
	}
	return receiveNFTables(ctx, begin, handle)
}

func audit(ctx context.Context, notify func()) {
	tick := time.NewTicker(legacyAudit)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			notify()
		case <-ctx.Done():
			return
		}
	}
}

// concerns tells whether an event is about a chain that is ours or has jumps of ours.
func concerns(m nl.Message) bool {
	family, table, chain := chainOf(m)
	if family != unix.NFPROTO_IPV4 && family != unix.NFPROTO_IPV6 || table != natTable && table != mangleTable {
		return false
	}
	kind := int(m.Header.Type & 0xff)
	return isOurs(chain) || slices.Contains(hookChains, place{table, chain}) || kind == unix.NFT_MSG_DELTABLE
}
