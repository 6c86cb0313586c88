// Package openflow keeps flows on a bridge: typed flows in, the smallest change of the switch out.
//
// Open vSwitch itself compares what a bridge has with what is wanted (ovs-ofctl diff-flows), because only it knows all
// ways to write the same flow; the difference is applied as one bundle, which the switch takes whole or not
// at all. Watch tells when somebody changes a flow.
package openflow
