package nft

import (
	"context"
	"fmt"
	"slices"

	nl "github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nlenc"
	"golang.org/x/sys/unix"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
)

const (
	// genericHeader is the size of struct nfgenmsg, which precedes the attributes.
	genericHeader = 4
	// tableAttribute is the table's name in messages about tables, chains, rules, sets and elements
	// (NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, NFTA_SET_TABLE, NFTA_SET_ELEM_LIST_TABLE).
	tableAttribute = 1
)

// ours are the tables that are kept in place.
var ours = []string{names.NFTTable, names.NFTUplinkTable, names.NFTPodTable}

// Watch calls notify with the name of a table of ours that somebody, this process included, has changed, until
// ctx ends. With "" anything may have changed; so is the first call, when watching has begun. Elements of maps and sets
// are left out: they come and go with services, and tables keep none of them.
func Watch(ctx context.Context, notify func(table string)) error {
	begin := func() error { notify(""); return nil }
	handle := func(m nl.Message) {
		if kind := m.Header.Type & 0xff; kind == unix.NFT_MSG_NEWSETELEM || kind == unix.NFT_MSG_DELSETELEM || len(m.Data) < genericHeader {
			return
		}
		attributes, err := nl.NewAttributeDecoder(m.Data[genericHeader:])
		if err != nil {
			return
		}
		for attributes.Next() {
			if attributes.Type() != tableAttribute {
				continue
			}
			if table := nlenc.String(attributes.Bytes()); slices.Contains(ours, table) {
				notify(table)
			}
			return
		}
	}
	if err := hostnet.Receive(ctx, unix.NETLINK_NETFILTER, begin, handle, unix.NFNLGRP_NFTABLES); err != nil {
		return fmt.Errorf("watch nftables: %w", err)
	}
	return nil
}
