package master

import (
	"context"
	"fmt"
	"testing"

	"k8s.io/klog/v2"
)

// BenchmarkEngine is the engine's share of serving a pod: allocation, rows, wanted annotation.
func BenchmarkEngine(b *testing.B) {
	klog.SetOutput(discard{})
	klog.LogToStderr(false)
	const nodes = 500
	for b.Loop() {
		b.StopTimer()
		h := newHarness(b, "10.128.0.0/14/23")
		for i := range nodes {
			h.addNode(fmt.Sprintf("n%d", i))
		}
		h.start()
		h.settle()
		for i := range 20000 {
			h.addPod(fmt.Sprintf("p%d", i), fmt.Sprintf("n%d", i%nodes))
		}
		b.StartTimer()
		h.engine.worker.RunUntilIdle(context.Background())
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/20000, "ns/pod")
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
