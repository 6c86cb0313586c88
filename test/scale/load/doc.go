// Package load makes the cluster that a master sees: Node and Pod objects without anything behind them. They
// speak only the annotations through which a master, node agents and CNI servers talk.
//
// Objects are created as fast as the API server takes them, over many connections, without a limit on the
// client's side. What the master does with them is seen through a watch.
package load
