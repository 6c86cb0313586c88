package netfilter

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"

	nl "github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nlenc"
	"golang.org/x/sys/unix"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
)

const (
	// genericHeader is the size of struct nfgenmsg, which precedes the attributes; its first byte is the family.
	genericHeader = 4
	// Numbers of attributes (linux/netfilter/nf_tables.h). The first holds for all kinds of objects.
	attributeTable        = 1
	attributeRuleChain    = 2
	attributeChainName    = 3
	attributeListSet      = 2
	attributeListElements = 3
	attributeElementKey   = 1
	attributeElementData  = 2
	attributeDataValue    = 1
	// notElements marks events about anything else in the table.
	notElements = "*"
)

// watchNFTables calls notify when somebody else has changed the table. The renderer's own changes are known beforehand and
// pass in silence: reading the whole table after each of them would make a change cost as much as all there is.
func watchNFTables(ctx context.Context, r *NFTables, notify func()) error {
	defer r.watches(false)
	begin := func() error {
		r.watches(true)
		notify()
		return nil
	}
	handle := func(m nl.Message) {
		if r.isForeign(decodeEvent(m)) {
			notify()
		}
	}
	return receiveNFTables(ctx, begin, handle)
}

// receiveNFTables hands over events, see hostnet.Receive.
func receiveNFTables(ctx context.Context, begin func() error, handle func(nl.Message)) error {
	if err := hostnet.Receive(ctx, unix.NETLINK_NETFILTER, begin, handle, unix.NFNLGRP_NFTABLES); err != nil {
		return fmt.Errorf("watch nftables: %w", err)
	}
	return nil
}

func (r *NFTables) watches(yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watching, r.foreign = yes, true
	clear(r.expected)
}

// expect announces the events of changes that are about to be made. What it returns is called with the outcome.
func (r *NFTables) expect(changes []Change) func(made bool) {
	var prints []string
	for _, c := range changes {
		prints = append(prints, fingerprints(c)...)
	}
	r.count(prints, 1)
	return func(made bool) {
		if !made {
			r.count(prints, -1)
		}
	}
}

func (r *NFTables) count(prints []string, by int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.watching {
		return
	}
	for _, p := range prints {
		if r.expected[p] += by; r.expected[p] <= 0 {
			delete(r.expected, p)
		}
	}
}

// isForeign tells whether any of the events is not one of this renderer's own.
func (r *NFTables) isForeign(prints []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.foreign
	for _, p := range prints {
		if r.expected[p] == 0 {
			r.foreign = true
		} else if r.expected[p]--; r.expected[p] == 0 {
			delete(r.expected, p)
		}
	}
	return r.foreign && !before
}

// fingerprints are what decodeEvent returns for the events that a change causes.
func fingerprints(c Change) []string {
	set := setName(c.Kind, c.V4)
	var key []byte
	if c.Kind.hasDest() {
		key = c.Dest.AsSlice()
	}
	key = append(key, byte(c.Protocol), 0, 0, 0) // each part of a key or value takes a multiple of four bytes
	key = appendPort(key, c.Port)
	var out []string
	if c.Was {
		out = append(out, fingerprint(unix.NFT_MSG_DELSETELEM, set, key, target(c.Before)))
	}
	if c.Is {
		out = append(out, fingerprint(unix.NFT_MSG_NEWSETELEM, set, key, target(c.After)))
	}
	return out
}

func target(to netip.AddrPort) []byte {
	if !to.IsValid() {
		return nil
	}
	return appendPort(to.Addr().AsSlice(), to.Port())
}

func appendPort(b []byte, port uint16) []byte {
	return append(binary.BigEndian.AppendUint16(b, port), 0, 0)
}

func fingerprint(message int, set string, key, data []byte) string {
	return fmt.Sprintf("%d %s %s %s", message, set, hex.EncodeToString(key), hex.EncodeToString(data))
}

// decodeEvent returns a fingerprint for each element that an event is about; nil when it is about another table, notElements
// when it is about something else of this one, or cannot be read.
func decodeEvent(m nl.Message) []string {
	kind := int(m.Header.Type & 0xff)
	if len(m.Data) < genericHeader || m.Data[0] != unix.NFPROTO_INET || kind == unix.NFT_MSG_NEWGEN {
		return nil
	}
	ad, err := nl.NewAttributeDecoder(m.Data[genericHeader:])
	if err != nil {
		return []string{notElements}
	}
	isElements := kind == unix.NFT_MSG_NEWSETELEM || kind == unix.NFT_MSG_DELSETELEM
	var table, set string
	var out []string
	for ad.Next() {
		switch {
		case ad.Type() == attributeTable:
			table = ad.String()
		case isElements && ad.Type() == attributeListSet:
			set = ad.String()
		case isElements && ad.Type() == attributeListElements:
			ad.Nested(func(list *nl.AttributeDecoder) error {
				for list.Next() {
					list.Nested(func(e *nl.AttributeDecoder) error {
						out = append(out, decodeElement(e, kind, set))
						return nil
					})
				}
				return nil
			})
		}
	}
	switch {
	case table != names.NFTTable:
		return nil
	case !isElements || ad.Err() != nil:
		return []string{notElements}
	}
	return out
}

func decodeElement(e *nl.AttributeDecoder, message int, set string) string {
	var key, data []byte
	for e.Next() {
		into := &key
		switch e.Type() {
		case attributeElementData:
			into = &data
		case attributeElementKey:
		default:
			continue
		}
		e.Nested(func(value *nl.AttributeDecoder) error {
			for value.Next() {
				if value.Type() == attributeDataValue {
					*into = value.Bytes()
				}
			}
			return nil
		})
	}
	return fingerprint(message, set, key, data)
}

// chainOf returns the family, table and chain that an event about a rule or chain names.
func chainOf(m nl.Message) (family byte, table, chain string) {
	if len(m.Data) < genericHeader {
		return 0, "", ""
	}
	ad, err := nl.NewAttributeDecoder(m.Data[genericHeader:])
	if err != nil {
		return 0, "", ""
	}
	wanted := uint16(0)
	switch int(m.Header.Type & 0xff) {
	case unix.NFT_MSG_NEWRULE, unix.NFT_MSG_DELRULE:
		wanted = attributeRuleChain
	case unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_DELCHAIN:
		wanted = attributeChainName
	}
	for ad.Next() {
		switch ad.Type() {
		case attributeTable:
			table = nlenc.String(ad.Bytes())
		case wanted:
			chain = nlenc.String(ad.Bytes())
		}
	}
	return m.Data[0], table, chain
}
