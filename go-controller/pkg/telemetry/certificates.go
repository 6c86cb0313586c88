package telemetry

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// certificates looks at files when it is asked.
type certificates struct {
	files  func() []string
	expiry *prometheus.Desc
}

// Certificates collects when the certificates in files end, as prefix_certificate_expiration_timestamp_seconds. files may return other
// names, and empty ones, each time; a file that is not there, or has no certificate, is left out. Of a file with several
// certificates the one counts that ends first.
func Certificates(prefix string, files func() []string) prometheus.Collector {
	return &certificates{files: files, expiry: prometheus.NewDesc(prefix+"_certificate_expiration_timestamp_seconds",
		"When the first of the file's certificates ends, in seconds since 1970.", []string{"file"}, nil)}
}

// Describe implements prometheus.Collector.
func (c *certificates) Describe(out chan<- *prometheus.Desc) { out <- c.expiry }

// Collect implements prometheus.Collector.
func (c *certificates) Collect(out chan<- prometheus.Metric) {
	seen := map[string]bool{}
	for _, file := range c.files() {
		if file == "" || seen[file] {
			continue
		}
		seen[file] = true
		if end := ends(file); !end.IsZero() {
			out <- prometheus.MustNewConstMetric(c.expiry, prometheus.GaugeValue, float64(end.Unix()), file)
		}
	}
}

// ends is when the first of the certificates in a file ends; the zero time when there is none.
func ends(file string) (first time.Time) {
	data, err := os.ReadFile(file)
	if err != nil {
		return first
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return first
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && (first.IsZero() || c.NotAfter.Before(first)) {
			first = c.NotAfter
		}
	}
}
