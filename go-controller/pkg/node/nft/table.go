package nft

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"k8s.io/klog/v2"
	"sigs.k8s.io/knftables"
)

// Table is an nftables table with all it holds.
type Table struct {
	Family knftables.Family
	Name   string
	// Shared says that the table holds chains of others of this project too: only the chains, maps and sets named here
	// are kept and removed.
	Shared bool
	// Maps and Sets are made when they are missing. What they contain is somebody else's matter.
	Maps   []knftables.Map
	Sets   []knftables.Set
	Chains []Chain
}

// Chain is a chain. Each rule is recognised by a comment, which is derived from the whole table: a
// rule that was removed, added or changed by hand shows as a difference.
type Chain struct {
	Name string
	// Type is empty for a chain that others jump to; Hook and Priority say nothing then.
	Type     knftables.BaseChainType
	Hook     knftables.BaseChainHook
	Priority knftables.BaseChainPriority
	// Device is for family netdev only.
	Device string
	Rules  []string
}

// Runner reaches the kernel's tables.
type Runner struct {
	// New returns the interface to a table; knftables.New outside of tests.
	New func(family knftables.Family, table string, options ...knftables.Option) (knftables.Interface, error)
}

// Kernel is the Runner for the kernel of the current network namespace.
func Kernel() Runner { return Runner{New: knftables.New} }

// Present tells whether the kernel holds t, and just that.
func (r Runner) Present(ctx context.Context, t Table) (bool, error) {
	nft, err := r.New(t.Family, t.Name)
	if err != nil {
		return false, fmt.Errorf("nftables: %w", err)
	}
	return present(ctx, nft, t)
}

func present(ctx context.Context, nft knftables.Interface, t Table) (bool, error) {
	rules, err := nft.ListRules(ctx, "")
	if knftables.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("list nftables table %s %s: %w", t.Family, t.Name, err)
	}
	have := map[string][]string{}
	for _, rule := range rules {
		comment := ""
		if rule.Comment != nil {
			comment = *rule.Comment
		}
		have[rule.Chain] = append(have[rule.Chain], comment)
	}
	want := t.comments()
	if !t.Shared && len(have) != len(want) {
		return false, nil
	}
	for _, chain := range t.Chains {
		if !slices.Equal(have[chain.Name], want[chain.Name]) {
			return false, nil
		}
	}
	return true, nil
}

// Ensure makes the kernel hold t. It tells whether something had to be changed.
func (r Runner) Ensure(ctx context.Context, t Table) (changed bool, err error) {
	nft, err := r.New(t.Family, t.Name)
	if err != nil {
		return false, fmt.Errorf("nftables: %w", err)
	}
	if ok, err := present(ctx, nft, t); ok || err != nil {
		return false, err
	}
	tx := nft.NewTransaction()
	t.write(tx)
	if err := nft.Run(ctx, tx); err != nil {
		return false, fmt.Errorf("write nftables table %s %s: %w", t.Family, t.Name, err)
	}
	klog.InfoS("Wrote nftables table", "family", t.Family, "table", t.Name)
	return true, nil
}

// Check tells whether the kernel would take t. It changes nothing.
func (r Runner) Check(ctx context.Context, t Table) error {
	nft, err := r.New(t.Family, t.Name)
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	tx := nft.NewTransaction()
	t.write(tx)
	if err := nft.Check(ctx, tx); err != nil {
		return fmt.Errorf("check nftables table %s %s: %w", t.Family, t.Name, err)
	}
	return nil
}

// Remove deletes the table named in t, if it is there; of a shared one what t names.
func (r Runner) Remove(ctx context.Context, t Table) error {
	nft, err := r.New(t.Family, t.Name)
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	tx := nft.NewTransaction()
	tx.Add(&knftables.Table{})
	if t.Shared {
		t.clear(tx)
		t.dropSets(tx)
	} else {
		tx.Delete(&knftables.Table{})
	}
	if err := nft.Run(ctx, tx); err != nil {
		return fmt.Errorf("delete nftables table %s %s: %w", t.Family, t.Name, err)
	}
	return nil
}

// clear removes the chains: adding first, without a type, makes it succeed whether they are there or not.
func (t Table) clear(tx *knftables.Transaction) {
	for _, c := range t.Chains {
		tx.Add(&knftables.Chain{Name: c.Name})
		tx.Flush(&knftables.Chain{Name: c.Name})
	}
	for _, c := range t.Chains {
		tx.Delete(&knftables.Chain{Name: c.Name})
	}
}

func (t Table) dropSets(tx *knftables.Transaction) {
	for _, m := range t.Maps {
		tx.Add(&m)
		tx.Delete(&knftables.Map{Name: m.Name})
	}
	for _, s := range t.Sets {
		tx.Add(&s)
		tx.Delete(&knftables.Set{Name: s.Name})
	}
}

// write replaces the table, or what is named of a shared one: adding first makes the deletion succeed where there is none.
func (t Table) write(tx *knftables.Transaction) {
	tx.Add(&knftables.Table{})
	if t.Shared {
		t.clear(tx)
	} else {
		tx.Delete(&knftables.Table{})
		tx.Add(&knftables.Table{})
	}
	for _, m := range t.Maps {
		tx.Add(&m)
	}
	for _, s := range t.Sets {
		tx.Add(&s)
	}
	for _, c := range t.Chains {
		tx.Add(c.object())
	}
	comments := t.comments()
	for _, c := range t.Chains {
		for i, rule := range c.Rules {
			tx.Add(&knftables.Rule{Chain: c.Name, Rule: rule, Comment: &comments[c.Name][i]})
		}
	}
}

func (c Chain) object() *knftables.Chain {
	out := &knftables.Chain{Name: c.Name}
	if c.Type != "" {
		out.Type, out.Hook, out.Priority = &c.Type, &c.Hook, &c.Priority
	}
	if c.Device != "" {
		out.Device = &c.Device
	}
	return out
}

// comments returns the rules' comments by chain.
func (t Table) comments() map[string][]string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%+v", t))
	version := hex.EncodeToString(sum[:6])
	out := map[string][]string{}
	for _, c := range t.Chains {
		for i := range c.Rules {
			out[c.Name] = append(out[c.Name], fmt.Sprintf("ovnkube %s-%d", version, i))
		}
	}
	return out
}
