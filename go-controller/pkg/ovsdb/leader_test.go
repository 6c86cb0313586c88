package ovsdb

import (
	"encoding/json"
	"errors"
	"testing"
)

func TestLeaderWatch(t *testing.T) {
	const initial = `{"Database":{"u":{"initial":{"name":"OVN_Northbound","model":"clustered","leader":true,"connected":true}},
		"v":{"initial":{"name":"_Server","model":"standalone"}}}}`
	for name, tc := range map[string]struct {
		updates []string
		leads   bool
	}{
		"leader":        {[]string{initial}, true},
		"standalone":    {[]string{`{"Database":{"u":{"initial":{"name":"OVN_Northbound","model":"standalone"}}}}`}, true},
		"follower":      {[]string{`{"Database":{"u":{"initial":{"name":"OVN_Northbound","model":"clustered","connected":true}}}}`}, false},
		"other":         {[]string{`{"Database":{"u":{"initial":{"name":"OVN_Southbound","model":"clustered"}}}}`}, true},
		"deposed":       {[]string{initial, `{"Database":{"u":{"modify":{"leader":false}}}}`}, false},
		"cut off":       {[]string{initial, `{"Database":{"u":{"modify":{"connected":false}}}}`}, false},
		"another row":   {[]string{initial, `{"Database":{"v":{"modify":{"leader":false}}}}`}, true},
		"another table": {[]string{initial, `{"Other":{"u":{"modify":{"leader":false}}}}`}, true},
	} {
		w := newLeaderWatch("OVN_Northbound")
		var err error
		for _, u := range tc.updates {
			err = w.update(json.RawMessage(u))
		}
		if errors.Is(err, errNotLeader) == tc.leads || err != nil && tc.leads {
			t.Errorf("%s: %v", name, err)
		}
	}
}
