package health

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestProbes(t *testing.T) {
	registry := prometheus.NewRegistry()
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "ovnkube_test_gauge"})
	registry.MustRegister(gauge)
	server := &Server{Metrics: registry, Ready: func() error { return errors.New("northbound database: not connected") }}
	for _, c := range []struct {
		path   string
		status int
		body   string
	}{
		{"/livez", http.StatusOK, "ok"},
		{"/readyz", http.StatusServiceUnavailable, "northbound database: not connected"},
		{"/metrics", http.StatusOK, "ovnkube_test_gauge 0"},
		{"/elsewhere", http.StatusNotFound, ""},
		{"/debug/pprof/", http.StatusNotFound, ""}, // not for the network
		{"/debug/flags/v", http.StatusNotFound, ""},
	} {
		recorder := httptest.NewRecorder()
		server.handler().ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, c.path, nil))
		if recorder.Code != c.status || !strings.Contains(recorder.Body.String(), c.body) {
			t.Errorf("%s: got %d %q, want %d %q", c.path, recorder.Code, recorder.Body, c.status, c.body)
		}
	}
}
