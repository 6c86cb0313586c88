// Package harness runs the real processes that a master talks to, and the master itself, in namespaces of
// their own: etcd, kube-apiserver, the two OVN databases and, if wanted, ovn-northd. It measures what the
// processes cost and what reaches the databases.
//
// Everything runs inside Enter: network, mount, process, IPC namespaces, with all files on a tmpfs that
// goes with them. So nothing can leave the machine, nothing meets the machine's own services, and
// nothing is left behind however the run ends.
package harness
