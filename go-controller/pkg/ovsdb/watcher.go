package ovsdb

import (
	"sync/atomic"

	"github.com/ovn-org/libovsdb/cache"
	"github.com/ovn-org/libovsdb/model"
)

// watcher is who follows the connection. libovsdb's caches cannot forget a handler, so it is switched off
// instead.
type watcher struct {
	handler   cache.EventHandler
	onConnect func(epoch uint64)
	stopped   atomic.Bool
}

func (w *watcher) stop() { w.stopped.Store(true) }

// OnAdd implements cache.EventHandler.
func (w *watcher) OnAdd(table string, m model.Model) {
	if !w.stopped.Load() {
		w.handler.OnAdd(table, m)
	}
}

// OnUpdate implements cache.EventHandler.
func (w *watcher) OnUpdate(table string, old, new model.Model) {
	if !w.stopped.Load() {
		w.handler.OnUpdate(table, old, new)
	}
}

// OnDelete implements cache.EventHandler.
func (w *watcher) OnDelete(table string, m model.Model) {
	if !w.stopped.Load() {
		w.handler.OnDelete(table, m)
	}
}
