package draw

// All are the pictures of the documentation.
func All() []*Picture {
	return []*Picture{components(), topology(), nodeParts(), sameNode(), twoNodes(), service(), nodePort(), egressShared(), egressLocal(), pipeline(), master(), addressStates()}
}

func components() *Picture {
	p := &Picture{Name: "components", Title: "The parts of ovnkube and how they hear of a pod", Width: 760, Height: 440}
	p.Zone(10, 10, 740, 165, "control plane")
	p.Box(Store, 30, 55, 120, 60, "kube-apiserver", "what is wanted")
	p.Box(Process, 200, 55, 130, 60, "ovnkube master", "one leads")
	p.Box(Store, 370, 55, 100, 60, "northbound", "switches, ACLs")
	p.Box(Process, 505, 55, 95, 60, "ovn-northd")
	p.Box(Store, 635, 55, 105, 60, "southbound", "logical flows")
	p.Arrow(150, 75, 200, 75)
	p.Arrow(200, 98, 150, 98)
	p.Arrow(330, 85, 370, 85)
	p.Arrow(470, 85, 505, 85)
	p.Arrow(600, 85, 635, 85)
	p.Note(110, 138, "watches objects; writes annotations and Events")
	p.Note(110, 156, "(subnets, addresses), and all rows by one writer")
	p.Zone(10, 200, 740, 230, "every node")
	p.Box(Process, 30, 245, 105, 50, "kubelet", "containerd")
	p.Box(Process, 190, 245, 130, 50, "ovnkube node", "the agent")
	p.Box(Process, 615, 245, 120, 50, "ovn-controller", "flows of br-int")
	p.Arrow(135, 270, 190, 270)
	p.Centred(162, 312, "CNI plugin")
	p.Arrow(90, 115, 90, 190, 255, 190, 255, 245)
	p.Arrow(690, 115, 690, 245)
	p.Bridge(30, 330, 705, 85, "ovs-vswitchd")
	p.Box(Host, 190, 350, 150, 50, "br-ex", "NIC, gateway flows")
	p.Box(Host, 380, 350, 150, 50, "ovn-k8s-mp0", "host ↔ pods")
	p.Box(Host, 570, 350, 150, 50, "br-int", "pods, tunnels")
	p.Arrow(255, 295, 255, 350)
	p.Arrow(320, 270, 455, 270, 455, 350)
	p.Arrow(690, 295, 690, 350)
	p.Note(335, 262, "routes, nftables, devices")
	return p
}

func topology() *Picture {
	p := &Picture{Name: "topology", Title: "The logical topology of a cluster with two nodes", Width: 760, Height: 520}
	p.Box(Logical, 290, 25, 180, 54, "ovn_cluster_router", "one for the cluster")
	p.Box(Logical, 290, 150, 180, 54, "switch join", "100.64.0.0/16, fd98::/64")
	p.Line(380, 79, 380, 150)
	p.Note(388, 118, "rtoj-/jtor-ovn_cluster_router")
	for i, n := range []struct{ name, subnet, join string }{{"node1", "10.128.2.0/23", "100.64.0.3"}, {"node2", "10.128.0.0/23", "100.64.0.2"}} {
		x := 20 + i*540 // left and right column, 180 wide
		in := x + 180*(1-i)
		p.Box(Logical, x, 25, 180, 54, "switch "+n.name, n.subnet)
		p.Line(in, 52, 290+180*i, 52)
		p.Centred((in+290+180*i)/2, 42, "rtos-"+n.name)
		p.Centred((in+290+180*i)/2, 70, "stor-"+n.name)
		p.Box(Pod, x, 105, 70, 42, "pods", ".3 …")
		p.Box(Host, x+78, 105, 102, 42, "ovn-k8s-mp0", ".2")
		p.Line(x+35, 79, x+35, 105)
		p.Line(x+129, 79, x+129, 105)
		gx := 130 + i*320
		p.Box(Logical, gx, 250, 180, 54, "GR_"+n.name, n.join)
		p.Line(gx+90, 250, gx+90, 226, 330+i*100, 226, 330+i*100, 204)
		p.Box(Logical, gx, 345, 180, 44, "switch ext_"+n.name)
		p.Line(gx+90, 304, gx+90, 345)
		p.Note(gx+96, 330, "rtoe-/etor-GR_"+n.name)
		p.Bridge(gx-10, 425, 200, 42, "br-ex of "+n.name)
		p.Line(gx+90, 389, gx+90, 425)
		p.Note(gx+96, 412, "localnet br-ex_"+n.name)
		p.Line(gx+90, 467, gx+90, 490)
	}
	p.Centred(380, 246, "rtoj-/jtor-GR_…")
	p.Line(60, 490, 700, 490)
	p.Centred(380, 510, "the nodes' network")
	return p
}

func nodeParts() *Picture {
	p := &Picture{Name: "node", Title: "What is on a node: two bridges, the management port and the NIC", Width: 760, Height: 400}
	p.Zone(10, 10, 740, 330, "node1")
	p.Box(Pod, 240, 40, 120, 44, "pod", "eth0, MTU 1400")
	p.Box(Pod, 450, 40, 120, 44, "pod", "eth0, MTU 1400")
	p.Bridge(258, 120, 477, 80, "br-int   fail_mode secure, flows by ovn-controller")
	p.Line(300, 84, 300, 120)
	p.Line(510, 84, 510, 120)
	p.Centred(405, 106, "veth pairs, named by sandbox")
	p.Box(Host, 605, 40, 125, 44, "ovn-e68a9f-0", "Geneve, by node")
	p.Line(665, 84, 665, 120)
	p.Box(Host, 22, 40, 140, 160, "the host's stack", "pods by ovn-k8s-mp0", "services by br-ex", "outside by br-ex", "nftables: node ports")
	p.Line(162, 165, 258, 165)
	p.Centred(210, 156, "ovn-k8s-mp0")
	p.Centred(210, 183, ".2, MTU 1400")
	p.Bridge(25, 250, 710, 74, "br-ex   flows by the node agent, cookie 0xdeff105")
	p.Line(100, 200, 100, 250)
	p.Note(107, 230, "br-ex: the node's addresses")
	p.Line(560, 200, 560, 250)
	p.Note(568, 230, "patch-br-ex_node1-to-br-int")
	p.Box(Host, 330, 284, 100, 30, "eth0")
	p.Line(380, 314, 380, 362)
	p.Line(60, 362, 700, 362)
	p.Centred(380, 385, "the nodes' network")
	return p
}
