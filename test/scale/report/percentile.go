package report

import (
	"math"
	"slices"
	"time"
)

// Percentile returns the p-th percentile (0 to 100) of samples by the nearest-rank method: the smallest
// sample that at least p percent of the samples do not exceed. It is a value that was measured, never an
// interpolation. It returns 0 for no samples. The samples may be in any order and are not changed.
func Percentile(samples []time.Duration, p float64) time.Duration {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Clone(samples)
	slices.Sort(sorted)
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Mean returns the arithmetic mean of samples, 0 for none.
func Mean(samples []time.Duration) time.Duration {
	if len(samples) == 0 {
		return 0
	}
	var sum time.Duration
	for _, s := range samples {
		sum += s
	}
	return sum / time.Duration(len(samples))
}
