package draw

// node is one node in the layout that the walks share: the pod above, the host's stack on the left, br-int with what OVN makes of it on the
// right, br-ex below, and the NIC under it.
func node(name, title, outside string, pod ...string) *Picture {
	p := &Picture{Name: name, Title: title, Width: 760, Height: 470}
	p.Zone(10, 10, 740, 375, "node1")
	p.Box(Pod, 285, 38, 150, 44, pod...)
	p.Bridge(285, 115, 450, 125, "br-int")
	p.Box(Logical, 300, 150, 120, 56, "switch node1", "10.128.2.0/23")
	p.Box(Logical, 443, 150, 150, 56, "ovn_cluster_router", "10.128.2.1")
	p.Box(Logical, 616, 150, 106, 56, "GR_node1", "100.64.0.3")
	p.Line(420, 178, 443, 178)
	p.Line(593, 178, 616, 178)
	p.Box(Host, 25, 115, 140, 125, "the host's stack", "routes, nftables", "and its processes")
	p.Bridge(25, 285, 710, 46, "br-ex")
	p.Box(Host, 325, 348, 110, 28, "eth0")
	p.Line(380, 331, 380, 348)
	p.Line(165, 178, 300, 178)
	p.Centred(225, 168, "ovn-k8s-mp0")
	p.Centred(225, 196, "10.128.2.2")
	p.Line(95, 240, 95, 285)
	p.Note(125, 274, "br-ex 172.18.0.11")
	p.Line(669, 206, 669, 285)
	p.Note(610, 274, "patch")
	p.Line(380, 376, 380, 412)
	p.Box(Outside, 290, 412, 180, 46, outside, "a host outside")
	return p
}

func sameNode() *Picture {
	p := &Picture{Name: "walk-same-node", Title: "A packet from a pod to another pod of the same node", Width: 760, Height: 240}
	p.Zone(10, 10, 740, 220, "node1")
	p.Box(Pod, 150, 38, 160, 48, "pod shop/client", "eth0 10.128.2.4")
	p.Box(Pod, 450, 38, 160, 48, "pod shop/web-1", "eth0 10.128.2.5")
	p.Bridge(40, 120, 680, 95, "br-int")
	p.Box(Logical, 120, 145, 520, 56, "switch node1   10.128.2.0/23", "port shop_client: egress policies   →   port shop_web-1: ingress policies")
	p.Way(230, 86, 230, 143)
	p.Way(530, 145, 530, 88)
	p.Step(230, 106)
	p.Step(380, 132)
	p.Step(530, 106)
	return p
}

func twoNodes() *Picture {
	p := &Picture{Name: "walk-two-nodes", Title: "A packet from a pod to a pod of another node", Width: 760, Height: 430}
	for i, n := range []struct{ name, pod, subnet, address, host string }{
		{"node1", "shop/client", "10.128.2.0/23", "10.128.2.4", "172.18.0.11"},
		{"node2", "shop/web-2", "10.128.0.0/23", "10.128.0.4", "172.18.0.12"},
	} {
		x := 10 + i*380
		p.Zone(x, 10, 360, 345, n.name)
		p.Box(Pod, x+20+i*170, 38, 150, 46, "pod "+n.pod, n.address)
		p.Bridge(x+10, 110, 340, 150, "br-int")
		p.Box(Logical, x+25+i*175, 145, 135, 56, "switch "+n.name, n.subnet)
		p.Box(Logical, x+183-i*158, 145, 154, 56, "ovn_cluster_router", "rtos-"+n.name)
		p.Note(x+30+i*195, 242, "Geneve tunnel")
		p.Bridge(x+10, 283, 340, 30, "br-ex  "+n.host)
		p.Box(Host, x+125, 324, 110, 26, "eth0")
		p.Line(x+180, 313, x+180, 324)
	}
	p.Centred(380, 418, "the nodes' network: UDP port 6081, the pods' packet inside")
	p.Way(105, 84, 105, 143)
	p.Way(170, 173, 191, 173)
	p.Way(270, 201, 270, 238, 155, 238, 155, 388, 605, 388, 605, 238, 490, 238, 490, 203)
	p.Way(569, 173, 588, 173)
	p.Way(655, 145, 655, 86)
	p.Step(105, 105)
	p.Step(270, 220)
	p.Step(380, 388)
	p.Step(490, 222)
	p.Step(655, 105)
	return p
}

func service() *Picture {
	p := &Picture{Name: "walk-service", Title: "A packet from a pod to a service", Width: 760, Height: 320}
	p.Zone(10, 10, 600, 300, "node1")
	p.Box(Pod, 60, 38, 160, 48, "pod shop/client", "10.128.2.4")
	p.Box(Pod, 320, 38, 160, 48, "pod shop/web-1", "10.128.2.5")
	p.Bridge(30, 115, 560, 180, "br-int")
	p.Box(Logical, 50, 145, 440, 56, "switch node1", "load balancer: 172.30.10.10:80 → one of the endpoints")
	p.Box(Logical, 310, 232, 180, 46, "ovn_cluster_router")
	p.Way(140, 86, 140, 143)
	p.Way(370, 201, 370, 230)
	p.Way(430, 232, 430, 203)
	p.Way(400, 145, 400, 88)
	p.OtherWay(490, 255, 680, 255, 680, 122)
	p.Zone(620, 10, 130, 300, "node2")
	p.Box(Pod, 630, 70, 110, 50, "shop/web-2", "10.128.0.4")
	p.Centred(680, 275, "tunnel")
	p.Step(140, 105)
	p.Step(80, 162)
	p.Step(400, 217)
	p.Mark(400, 106, "4")
	p.Mark(570, 255, "4")
	return p
}

func nodePort() *Picture {
	p := node("walk-node-port", "A packet from outside to a node port, on its two ways", "172.18.0.200", "pod shop/web-1", "10.128.2.5")
	p.Way(410, 412, 410, 318, 688, 318, 688, 208)
	p.Way(616, 178, 595, 178)
	p.Way(443, 178, 422, 178)
	p.Way(360, 150, 360, 84)
	p.OtherWay(350, 412, 350, 318, 80, 318, 80, 242)
	p.OtherWay(110, 240, 110, 302, 650, 302, 650, 208)
	p.Step(410, 394)
	p.Step(688, 255)
	p.Step(518, 150)
	p.Step(360, 102)
	p.Mark(80, 258, "a")
	p.Mark(500, 302, "b")
	return p
}

func egressShared() *Picture {
	p := node("walk-egress-shared", "A packet from a pod to a host outside, with shared gateways", "172.18.0.201", "pod shop/client", "10.128.2.4")
	p.Way(360, 82, 360, 148)
	p.Way(420, 178, 441, 178)
	p.Way(593, 178, 614, 178)
	p.Way(684, 206, 684, 314, 410, 314, 410, 410)
	p.Step(360, 102)
	p.Step(518, 150)
	p.Step(669, 150)
	p.Step(540, 314)
	p.Step(410, 394)
	return p
}

func egressLocal() *Picture {
	p := node("walk-egress-local", "A packet from a pod to a host outside, with local gateways", "172.18.0.201", "pod shop/client", "10.128.2.4")
	p.Way(360, 82, 360, 148)
	p.Way(420, 168, 441, 168)
	p.Way(443, 190, 422, 190)
	p.Way(300, 178, 167, 178)
	p.Way(80, 240, 80, 314, 350, 314, 350, 410)
	p.Step(360, 102)
	p.Step(518, 150)
	p.Step(281, 178)
	p.Step(95, 216)
	p.Step(350, 394)
	return p
}
