package policy

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// Logging says how severe it is that policies of a namespace allow or deny a connection; empty: it is not logged.
type Logging struct {
	Allow nbdb.ACLSeverity `json:"allow,omitempty"`
	Deny  nbdb.ACLSeverity `json:"deny,omitempty"`
}

var severities = []nbdb.ACLSeverity{
	nbdb.ACLSeverityAlert, nbdb.ACLSeverityWarning, nbdb.ACLSeverityNotice, nbdb.ACLSeverityInfo, nbdb.ACLSeverityDebug,
}

// ParseLogging reads a namespace's annotation; empty text means that nothing is logged. With an error, what could be understood is returned.
func ParseLogging(text string) (Logging, error) {
	if text == "" {
		return Logging{}, nil
	}
	var l Logging
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return Logging{}, fmt.Errorf("annotation %s: %w", names.ACLLoggingAnnotation, err)
	}
	var err error
	for _, severity := range []*nbdb.ACLSeverity{&l.Allow, &l.Deny} {
		if *severity != "" && !slices.Contains(severities, *severity) {
			err = fmt.Errorf("annotation %s: severity %q is none of %v", names.ACLLoggingAnnotation, *severity, severities)
			*severity = ""
		}
	}
	return l, err
}

// apply names the ACL and makes it log with a severity.
func (l Logging) apply(acl *nbdb.ACL, name string, severity nbdb.ACLSeverity) {
	acl.Name = &name
	if severity == "" {
		return
	}
	meter := names.ACLLoggingMeter
	acl.Log, acl.Severity, acl.Meter = true, &severity, &meter
}
