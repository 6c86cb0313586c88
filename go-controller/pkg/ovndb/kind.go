package ovndb

import "fmt"

// Kind is one of OVN's databases.
type Kind struct {
	// Short is "nb" or "sb".
	Short string
	// Database is its name in OVSDB.
	Database string
	// Global is the table with the single row that names connections and TLS files.
	Global string
	// Port is where clients connect, RaftPort where members of a cluster do, by default.
	Port, RaftPort int
}

// NB is the northbound database: ovn-nb(5).
func NB() Kind { return Kind{"nb", "OVN_Northbound", "NB_Global", 6641, 6643} }

// SB is the southbound database: ovn-sb(5).
func SB() Kind { return Kind{"sb", "OVN_Southbound", "SB_Global", 6642, 6644} }

// ParseKind reads "nb" or "sb".
func ParseKind(s string) (Kind, error) {
	for _, k := range []Kind{NB(), SB()} {
		if s == k.Short {
			return k, nil
		}
	}
	return Kind{}, fmt.Errorf("database %q: want nb or sb", s)
}

func (k Kind) fileName() string   { return "ovn" + k.Short + "_db.db" }
func (k Kind) socketName() string { return "ovn" + k.Short + "_db.sock" }
func (k Kind) controlName() string {
	return "ovn" + k.Short + "_db.ctl"
}
func (k Kind) leaderName() string { return "ovn" + k.Short + "_leader.sock" }
func (k Kind) schemaName() string { return "ovn-" + k.Short + ".ovsschema" }

// connections makes a server listen where the database's content says: ovsdb-server(1), "--remote=db:".
func (k Kind) connections() string {
	return fmt.Sprintf("--remote=db:%s,%s,connections", k.Database, k.Global)
}
