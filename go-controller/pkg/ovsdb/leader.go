package ovsdb

import (
	"context"
	"errors"
	"sync"

	"github.com/ovn-org/libovsdb/cache"
	"github.com/ovn-org/libovsdb/client"
	"github.com/ovn-org/libovsdb/model"
	"github.com/ovn-org/libovsdb/ovsdb"
	"github.com/ovn-org/libovsdb/ovsdb/serverdb"
)

// errNotLeader is the answer of a server that follows, or that has lost contact with its cluster.
var errNotLeader = errors.New("the server is not the leader of its cluster")

// leaderWatch follows whether a server leads its cluster. See ovsdb-server(5), "_Server".
type leaderWatch struct {
	lib  client.Client
	lost chan struct{} // closed when the server does not lead any more
	once sync.Once
}

// watchLeader fails when the server does not lead. A standalone database counts as led.
func watchLeader(ctx context.Context, o *Options, endpoint string) (*leaderWatch, error) {
	dbModel, err := serverdb.FullDatabaseModel()
	if err != nil {
		return nil, err
	}
	lib, err := dial(ctx, o, dbModel, endpoint)
	if err != nil {
		return nil, err
	}
	w := &leaderWatch{lib: lib, lost: make(chan struct{})}
	go w.awaitDisconnect()
	if err := w.start(ctx, o); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *leaderWatch) start(ctx context.Context, o *Options) error {
	rows := w.lib.Cache()
	if rows == nil {
		return errors.New("the connection was lost at once")
	}
	check := func(m model.Model) {
		if db, ok := m.(*serverdb.Database); ok && db.Name == o.Database && !leads(db) {
			w.lose()
		}
	}
	rows.AddEventHandler(&cache.EventHandlerFuncs{
		UpdateFunc: func(_ string, _, db model.Model) { check(db) },
		DeleteFunc: func(_ string, db model.Model) {
			if d, ok := db.(*serverdb.Database); ok && d.Name == o.Database {
				w.lose()
			}
		},
	})
	ctx, cancel := context.WithTimeout(ctx, o.DialTimeout)
	defer cancel()
	m := w.lib.NewMonitor()
	m.Method = ovsdb.ConditionalMonitorRPC
	m.Tables = []client.TableMonitor{{
		Table:  serverdb.DatabaseTable,
		Fields: []string{"name", "model", "leader", "connected"},
	}}
	if _, err := w.lib.Monitor(ctx, m); err != nil {
		return err
	}
	for _, row := range rowsOf[serverdb.Database](rows.Table(serverdb.DatabaseTable)) {
		if row.Name == o.Database && !leads(row) {
			return errNotLeader
		}
	}
	return nil
}

func leads(db *serverdb.Database) bool {
	return db.Model != serverdb.DatabaseModelClustered || db.Leader && db.Connected
}

func (w *leaderWatch) lose() { w.once.Do(func() { close(w.lost) }) }

func (w *leaderWatch) awaitDisconnect() {
	select {
	case <-w.lib.DisconnectNotify():
		w.lose()
	case <-w.lost:
	}
}

func (w *leaderWatch) close() {
	w.lose()
	go w.lib.Close()
}
