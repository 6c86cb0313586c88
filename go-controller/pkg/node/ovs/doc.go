// Package ovs brings the node's Open_vSwitch database to what the agent wants: bridges, ports and the
// external_ids that steer ovn-controller. All of the agent's writes to that database are made here.
//
// Plan is pure: it compares a State with a Desired and returns changes; Ensure sends them in one transaction.
// What belongs to others (keys in external_ids, bridges, ports) is left alone.
package ovs
