package telemetry

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func certificate(t *testing.T, end time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	now := time.Unix(1_800_000_000, 0)
	write := func(name string, parts ...string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(strings.Join(parts, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}))
	one := write("one.pem", key, certificate(t, now))
	files := []string{
		one, one, "", filepath.Join(dir, "none.pem"), write("empty.pem", key),
		write("ca.crt", certificate(t, now.Add(2*time.Hour)), certificate(t, now.Add(time.Hour))),
	}
	c := Certificates("ovnkube_test", func() []string { return files })
	want := `# HELP ovnkube_test_certificate_expiration_timestamp_seconds When the first of the file's certificates ends, in seconds since 1970.
# TYPE ovnkube_test_certificate_expiration_timestamp_seconds gauge
ovnkube_test_certificate_expiration_timestamp_seconds{file="DIR/ca.crt"} 1.8000036e+09
ovnkube_test_certificate_expiration_timestamp_seconds{file="DIR/one.pem"} 1.8e+09
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(strings.ReplaceAll(want, "DIR", dir))); err != nil {
		t.Error(err)
	}
}

func TestDatabases(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := NewDatabases("ovnkube_test", registry)
	m.Failed("OVN_Northbound")
	m.Connected("OVN_Northbound")
	m.Lost("OVN_Northbound")
	m.Connected("OVN_Northbound")
	m.Answered("OVN_Northbound", "transact", time.Millisecond, true)
	m.Answered("OVN_Northbound", "transact", time.Minute, false)
	want := `# HELP ovnkube_test_ovsdb_connect_failures_total How often none of the database's endpoints could be used.
# TYPE ovnkube_test_ovsdb_connect_failures_total counter
ovnkube_test_ovsdb_connect_failures_total{database="OVN_Northbound"} 1
# HELP ovnkube_test_ovsdb_connections Connections to the database that there are now.
# TYPE ovnkube_test_ovsdb_connections gauge
ovnkube_test_ovsdb_connections{database="OVN_Northbound"} 1
# HELP ovnkube_test_ovsdb_connects_total Connections made; each but the first is a reconnect.
# TYPE ovnkube_test_ovsdb_connects_total counter
ovnkube_test_ovsdb_connects_total{database="OVN_Northbound"} 2
# HELP ovnkube_test_ovsdb_requests_unanswered_total Requests that had no answer: the connection was lost, or the time was up.
# TYPE ovnkube_test_ovsdb_requests_unanswered_total counter
ovnkube_test_ovsdb_requests_unanswered_total{database="OVN_Northbound",method="transact"} 1
`
	err := testutil.GatherAndCompare(registry, strings.NewReader(want), "ovnkube_test_ovsdb_connect_failures_total", "ovnkube_test_ovsdb_connections",
		"ovnkube_test_ovsdb_connects_total", "ovnkube_test_ovsdb_requests_unanswered_total")
	if err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(m.duration); n != 1 {
		t.Errorf("%d histograms of round trips, want 1", n)
	}
}

func TestProgram(t *testing.T) {
	for name, tc := range map[string]struct {
		answer          string
		err             error
		running, active string
	}{
		"active":  {answer: "active", running: "1", active: "1"},
		"standby": {answer: "standby", running: "1", active: "0"},
		"dead":    {answer: "active", err: errors.New("connection refused"), running: "0", active: "0"},
	} {
		c := Program(ProgramOptions{Metric: "ovnkube_test_program", Help: "Whether.", State: "active",
			InState: func(answer string) bool { return answer == "active" },
			Ask:     func(context.Context) (string, error) { return tc.answer, tc.err }})
		want := "# HELP ovnkube_test_program Whether.\n# TYPE ovnkube_test_program gauge\n" +
			`ovnkube_test_program{state="active"} ` + tc.active + "\n" + `ovnkube_test_program{state="running"} ` + tc.running + "\n"
		if err := testutil.CollectAndCompare(c, strings.NewReader(want)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
