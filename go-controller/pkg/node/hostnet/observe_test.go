package hostnet

import (
	"testing"
	"time"
)

// An address in its last second must not be taken for one without an end: it would be put back for ever.
func TestExpiry(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	for seconds, want := range map[int]time.Time{
		forever: {}, 3600: now.Truncate(time.Second).Add(time.Hour), 0: now.Truncate(time.Second),
	} {
		got := expiry(seconds, now)
		if !got.Equal(want) {
			t.Errorf("%d seconds left: %v, want %v", seconds, got, want)
		}
		if ended := (Address{Expires: got}).Expired(now); ended != (seconds == 0) {
			t.Errorf("%d seconds left: expired %t", seconds, ended)
		}
	}
}
