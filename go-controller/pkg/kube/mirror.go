package kube

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
)

// Object is a trimmed object; its methods are called on values that are there (not nil).
type Object[T any] interface {
	comparable
	Key() string
	Equal(T) bool
}

// Mirror holds the objects of one kind, trimmed to type T. It is fed by a Reflector directly: there is no second
// copy, no queue of deltas, no resync. Handlers are called, one change after the other,
// from the goroutine that receives the changes; they must not block.
type Mirror[T Object[T]] struct {
	name    string
	example runtime.Object
	trim    func(any) any
	convert func(any) (T, bool)

	handlers []func(key string, before, after T)

	mu     sync.RWMutex
	items  map[string]T
	once   sync.Once
	synced chan struct{}
}

// OnChange adds a handler; before or after is nil when the object was or is not there. Call it before Run.
func (m *Mirror[T]) OnChange(handler func(key string, before, after T)) {
	m.handlers = append(m.handlers, handler)
}

// Get returns the object with that key.
func (m *Mirror[T]) Get(key string) (T, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	item, ok := m.items[key]
	return item, ok
}

// All returns the objects, in no order.
func (m *Mirror[T]) All() []T {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]T, 0, len(m.items))
	for _, item := range m.items {
		out = append(out, item)
	}
	return out
}

// Synced is closed when the first list is in and its handlers were called.
func (m *Mirror[T]) Synced() <-chan struct{} { return m.synced }

// reflectorGrace is for what a reflector is about to do when its context ends.
const reflectorGrace = time.Second

// Run mirrors source until ctx ends. Lost connections are retried for ever.
func (m *Mirror[T]) Run(ctx context.Context, source cache.ListerWatcher) {
	r := cache.NewReflectorWithOptions(source, m.example, store[T]{m}, cache.ReflectorOptions{Name: m.name})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.RunWithContext(ctx)
	}()
	<-ctx.Done()
	// Refused by the API server, a reflector sleeps for up to half a minute whatever becomes of its context. It does nothing more when it wakes up.
	select {
	case <-ended:
	case <-time.After(reflectorGrace):
	}
}

// Put and Remove change the mirror as a watch event would. They let tests decide in which order things happen; beside
// Run they have no place.
func (m *Mirror[T]) Put(item T) { m.put(item.Key(), item) }

// Remove is the counterpart of Put.
func (m *Mirror[T]) Remove(key string) {
	var none T
	m.put(key, none)
}

// mirrorOf makes a mirror of API objects of one kind: trim drops what keep does not read, before anything holds it; keep makes of an
// object what the mirror has of it.
func mirrorOf[O runtime.Object, T Object[T]](name string, example O, trim func(O) O, keep func(O) T) *Mirror[T] {
	m := &Mirror[T]{name: name, example: example, items: map[string]T{}, synced: make(chan struct{})}
	m.trim = func(obj any) any {
		if o, ok := obj.(O); ok {
			return trim(o)
		}
		return obj
	}
	m.convert = func(obj any) (T, bool) {
		o, ok := obj.(O)
		if !ok {
			var none T
			return none, false
		}
		return keep(o), true
	}
	return m
}

func (m *Mirror[T]) put(key string, after T) {
	var none T
	m.mu.Lock()
	before := m.items[key]
	switch {
	case after == none && before == none, after != none && before != none && after.Equal(before):
		m.mu.Unlock()
		return
	case after == none:
		delete(m.items, key)
	default:
		m.items[key] = after
	}
	m.mu.Unlock()
	for _, h := range m.handlers {
		h(key, before, after)
	}
}

// store is the face that a Mirror shows to its Reflector.
type store[T Object[T]] struct{ m *Mirror[T] }

var _ cache.TransformingStore = store[*Pod]{}

// Transformer keeps the temporary copy of an initial list small.
func (s store[T]) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) { return s.m.trim(obj), nil }
}

// Add is called for an object that is new or changed.
func (s store[T]) Add(obj any) error {
	item, ok := s.m.convert(obj)
	if !ok {
		return fmt.Errorf("unexpected %T in the watch of %s", obj, s.m.name)
	}
	s.m.put(item.Key(), item)
	return nil
}

// Update does the same.
func (s store[T]) Update(obj any) error { return s.Add(obj) }

// Delete is called for an object that is gone.
func (s store[T]) Delete(obj any) error {
	item, ok := s.m.convert(obj)
	if !ok {
		return fmt.Errorf("unexpected %T in the watch of %s", obj, s.m.name)
	}
	var none T
	s.m.put(item.Key(), none)
	return nil
}

// Replace is called with a whole list, at first and after a watch was lost for long.
func (s store[T]) Replace(list []any, _ string) error {
	seen := make(map[string]struct{}, len(list))
	for _, obj := range list {
		item, ok := s.m.convert(obj)
		if !ok {
			return fmt.Errorf("unexpected %T in the list of %s", obj, s.m.name)
		}
		seen[item.Key()] = struct{}{}
		s.m.put(item.Key(), item)
	}
	var none T
	for _, item := range s.m.All() {
		if _, ok := seen[item.Key()]; !ok {
			s.m.put(item.Key(), none)
		}
	}
	s.m.once.Do(func() { close(s.m.synced) })
	return nil
}

// Resync has nothing to do.
func (s store[T]) Resync() error { return nil }
