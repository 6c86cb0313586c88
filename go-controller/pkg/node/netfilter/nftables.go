package netfilter

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"sync"

	"k8s.io/klog/v2"
	"sigs.k8s.io/knftables"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/nft"
)

// NFTables renders rules as elements of maps and sets in the table inet ovn-kubernetes. A change costs one element.
type NFTables struct {
	tables nft.Runner

	mu sync.Mutex
	// expected counts the events that this renderer's own writes will cause; foreign says that somebody else has written
	// since the kernel was read.
	expected map[string]int
	watching bool
	foreign  bool

	// nft, frame and have are used by Sync alone: the frame that is in place, and the elements.
	nft   knftables.Interface
	frame nft.Table
	have  map[Key]netip.AddrPort
}

// NewNFTables makes a renderer; it touches nothing before Sync.
func NewNFTables(tables nft.Runner) *NFTables {
	return &NFTables{tables: tables, expected: map[string]int{}, foreign: true}
}

// Name implements Renderer.
func (r *NFTables) Name() string { return names.NetfilterNFTables }

// Sync implements Renderer.
func (r *NFTables) Sync(ctx context.Context, f Facts, l *Ledger, touched []Key) ([]Change, error) {
	changes, err := r.sync(ctx, f, l, touched)
	if err != nil {
		r.have = nil // what was written is not known
	}
	return changes, err
}

func (r *NFTables) sync(ctx context.Context, f Facts, l *Ledger, touched []Key) ([]Change, error) {
	tx, err := r.begin()
	if err != nil {
		return nil, err
	}
	if r.takeForeign() || r.have == nil || !reflect.DeepEqual(r.frame, frame(f)) {
		if err := r.read(ctx, f, tx); err != nil {
			return nil, err
		}
		touched = l.Keys()
		for k := range r.have {
			if _, ok := l.Get(k); !ok {
				touched = append(touched, k)
			}
		}
	}
	changes := r.plan(l, touched, tx)
	if tx.NumOperations() == 0 {
		return nil, nil
	}
	done := r.expect(changes)
	if err := r.nft.Run(ctx, tx); err != nil {
		done(false)
		return nil, fmt.Errorf("write elements of nftables table %s: %w", names.NFTTable, err)
	}
	done(true)
	for _, c := range changes {
		if c.Is {
			r.have[c.Key] = c.After
		} else {
			delete(r.have, c.Key)
		}
	}
	return changes, nil
}

func (r *NFTables) begin() (*knftables.Transaction, error) {
	if r.nft == nil {
		i, err := r.tables.New(knftables.InetFamily, names.NFTTable)
		if err != nil {
			return nil, fmt.Errorf("nftables: %w", err)
		}
		r.nft = i
	}
	return r.nft.NewTransaction(), nil
}

// read brings the frame into place and finds out which elements there are. What is no rule of any kind is deleted by tx.
func (r *NFTables) read(ctx context.Context, f Facts, tx *knftables.Transaction) error {
	want := frame(f)
	if _, err := r.tables.Ensure(ctx, want); err != nil {
		return err
	}
	have := map[Key]netip.AddrPort{}
	for k := range kinds {
		for _, v4 := range []bool{true, false} {
			elements, err := r.nft.ListElements(ctx, objectType(k), setName(k, v4))
			if err != nil {
				return fmt.Errorf("list elements of %s: %w", setName(k, v4), err)
			}
			for _, e := range elements {
				if key, to, ok := parseElement(k, v4, e); ok {
					have[key] = to
				} else {
					klog.InfoS("Removing a foreign element", "from", setName(k, v4), "key", e.Key, "value", e.Value)
					tx.Delete(e)
				}
			}
		}
	}
	r.have, r.frame = have, want
	return nil
}

// plan puts into tx what makes the rules of the touched keys as wanted.
func (r *NFTables) plan(l *Ledger, touched []Key, tx *knftables.Transaction) []Change {
	var out []Change
	for _, k := range touched {
		before, was := r.have[k]
		after, is := l.Get(k)
		if was == is && before == after {
			continue
		}
		if was {
			tx.Delete(element(k, before))
		}
		if is {
			tx.Add(element(k, after))
		}
		out = append(out, Change{k, was, is, before, after})
	}
	return out
}

// Remove implements Renderer. Where there is no nft, there is nothing that could be removed.
func (r *NFTables) Remove(ctx context.Context) error {
	r.have = nil
	if _, err := r.begin(); err != nil {
		return nil //nolint:nilerr // see above
	}
	present, err := r.nft.ListAll(ctx)
	if knftables.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list nftables table %s: %w", names.NFTTable, err)
	}
	if !slices.Contains(present["chain"], names.NFTChainServices) && !slices.Contains(present["map"], setName(NodePort, true)) {
		return nil
	}
	return r.tables.Remove(ctx, frame(Facts{}))
}

// Watch implements Renderer.
func (r *NFTables) Watch(ctx context.Context, notify func()) error {
	return watchNFTables(ctx, r, notify)
}

func (r *NFTables) takeForeign() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.foreign
	r.foreign = false
	return was
}

// Check tells whether the kernel and the program nft take such rules. It changes nothing.
func (r *NFTables) Check(ctx context.Context) error {
	if _, err := r.begin(); err != nil {
		return err
	}
	return r.tables.Check(ctx, frame(Facts{}))
}
