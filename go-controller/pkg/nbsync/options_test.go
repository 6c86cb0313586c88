package nbsync

import "testing"

// What is wanted together goes together, up to what the server can do without being missed.
func TestTransactionIsFull(t *testing.T) {
	o := Options{}
	o.setDefaults()
	for name, c := range map[string]struct {
		owners, rows, members int
		want                  bool
	}{
		"few owners, many rows":    {500, 49999, 1e6, false},
		"few owners, far too many": {500, 50000, 0, true},
		"enough owners":            {1000, 4999, 9999, false},
		"and rows":                 {1000, 5000, 0, true},
		"and members":              {1000, 0, 10000, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := o.full(c.owners, c.rows, c.members); got != c.want {
				t.Errorf("closed: %t, want %t", got, c.want)
			}
		})
	}
}
