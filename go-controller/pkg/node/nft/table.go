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
	Chains []Chain
}

// Chain is a base chain. Each rule is recognised by a comment, which is derived from the whole table: a
// rule that was removed, added or changed by hand shows as a difference.
type Chain struct {
	Name     string
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
	if len(have) != len(want) {
		return false, nil
	}
	for chain, comments := range want {
		if !slices.Equal(have[chain], comments) {
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

// Remove deletes the table named in t, if it is there.
func (r Runner) Remove(ctx context.Context, t Table) error {
	nft, err := r.New(t.Family, t.Name)
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	tx := nft.NewTransaction()
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
	if err := nft.Run(ctx, tx); err != nil {
		return fmt.Errorf("delete nftables table %s %s: %w", t.Family, t.Name, err)
	}
	return nil
}

// write replaces the table as a whole: adding first makes the deletion succeed where there is none.
func (t Table) write(tx *knftables.Transaction) {
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
	tx.Add(&knftables.Table{})
	comments := t.comments()
	for _, c := range t.Chains {
		chain := &knftables.Chain{Name: c.Name, Type: &c.Type, Hook: &c.Hook, Priority: &c.Priority}
		if c.Device != "" {
			chain.Device = &c.Device
		}
		tx.Add(chain)
		for i, rule := range c.Rules {
			tx.Add(&knftables.Rule{Chain: c.Name, Rule: rule, Comment: &comments[c.Name][i]})
		}
	}
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
