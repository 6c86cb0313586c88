// Package bridge lets the external bridge take over the physical NIC, and gives everything back.
//
// Observe, Plan, Execute: the plan is a pure function of what is there, so that a first run, a run after a crash
// at any point, a run after a reboot, and the repair of what somebody deleted are all the same. The order of
// steps is make-before-break; docs/design/node.md has the table of what holds after each of them.
package bridge
