package node

import (
	"fmt"
	"os"

	"github.com/ovnkube/ovnkube/go-controller/pkg/certs"
	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/reconcile"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
)

// requester keeps the certificate with which ovn-controller connects; nil when there is none to keep.
func (a *Agent) requester() *certs.Requester {
	if _, managed := a.cfg.SouthboundTLS(); !managed {
		return nil
	}
	wanted := certs.ForNode(a.cfg.CertificateDir, a.cfg.NodeName, a.facts.getSystemID)
	return certs.NewRequester(a.kube, wanted, a.loops.chassis.Wake)
}

// addCredentials completes what ovn-controller needs to connect. While files are missing it is not told where to: each failed try
// would make it wait longer for the next.
func addCredentials(d *ovs.Desired, s ovs.State, cfg config.Node) error {
	files, managed := cfg.SouthboundTLS()
	if files == (ovsdb.TLSFiles{}) {
		return nil
	}
	want := ovs.SSL{PrivateKey: files.PrivateKey, Certificate: files.Certificate, CACert: files.CACertificate}
	if s.SSL != nil && !s.SSLOwned && *s.SSL != want {
		delete(d.ExternalIDs, names.OVNRemote)
		return reconcile.Waiting(fmt.Sprintf("Open vSwitch's table SSL names %s, which is not the agent's: remove it (ovs-vsctl del-ssl), or give these files with --sb-client-privkey, --sb-client-cert and --sb-client-cacert",
			s.SSL.Certificate))
	}
	for _, file := range []string{want.PrivateKey, want.Certificate, want.CACert} {
		if _, err := os.Stat(file); err != nil {
			delete(d.ExternalIDs, names.OVNRemote)
			if managed {
				return reconcile.Waiting(fmt.Sprintf("the master has not signed a certificate for ovn-controller yet (no %s; kubectl get csr shows requests)", file))
			}
			return reconcile.Waiting(fmt.Sprintf("certificate for ovn-controller: %v", err))
		}
	}
	d.SSL = &want
	return nil
}
