package master

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
)

func TestMasterWithoutItsSurroundings(t *testing.T) {
	nowhere := config.Database{Endpoints: []string{"unix:" + filepath.Join(t.TempDir(), "none.sock")}}
	m, err := New(config.Master{Northbound: nowhere, Southbound: nowhere, Identity: "test"},
		Options{Registerer: prometheus.NewRegistry(), RESTConfig: &rest.Config{Host: "http://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	if err := m.Ready(); err == nil {
		t.Error("ready without API server and database")
	}
	if err := m.Live(); err != nil {
		t.Errorf("waiting for others is no reason to be restarted: %v", err)
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("a wanted end is no error: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("does not end")
	}
}
