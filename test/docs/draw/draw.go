// Package draw draws the pictures of the documentation: boxes, lines and the way of a packet in numbered steps. Pictures are plain SVG; their
// colours follow the reader's choice of light or dark, alone by the system's setting, in the site by the site's.
package draw

import (
	"fmt"
	"html"
	"strings"
)

// Kind says what a box stands for, and so its colour.
type Kind string

// What boxes stand for.
const (
	Pod     Kind = "pod"     // a pod
	Logical Kind = "logical" // a row of OVN's: a switch or router
	Host    Kind = "host"    // the host's own stack, or a device of it
	Process Kind = "process" // a program
	Store   Kind = "store"   // a database, or the API server
	Outside Kind = "outside" // what does not belong to the cluster
)

// Picture is a drawing that grows shape by shape. Coordinates are in pixels from the upper left corner.
type Picture struct {
	Name, Title   string
	Width, Height int
	below, above  strings.Builder
	step          int
}

// Zone is a frame around other shapes, with a label in its upper left corner.
func (p *Picture) Zone(x, y, w, h int, label string) {
	fmt.Fprintf(&p.below, `<rect class="zone" x="%d" y="%d" width="%d" height="%d" rx="8"/>`+"\n", x, y, w, h)
	p.text(&p.below, "label", "start", x+10, y+17, label)
}

// Bridge is a zone that stands for a bridge of Open vSwitch.
func (p *Picture) Bridge(x, y, w, h int, label string) {
	fmt.Fprintf(&p.below, `<rect class="bridge" x="%d" y="%d" width="%d" height="%d" rx="6"/>`+"\n", x, y, w, h)
	p.text(&p.below, "label", "start", x+10, y+17, label)
}

// Box is a rectangle with lines of text in its middle; the first line is the heading.
func (p *Picture) Box(kind Kind, x, y, w, h int, lines ...string) {
	fmt.Fprintf(&p.above, `<rect class="box %s" x="%d" y="%d" width="%d" height="%d" rx="5"/>`+"\n", kind, x, y, w, h)
	top := y + h/2 - (len(lines)-1)*8 + 4
	for i, line := range lines {
		class := "small"
		if i == 0 {
			class = "head"
		}
		p.text(&p.above, class, "middle", x+w/2, top+i*16, line)
	}
}

// Note is a line of small text that begins at x.
func (p *Picture) Note(x, y int, text string) { p.text(&p.above, "small", "start", x, y, text) }

// Centred is a line of small text around x.
func (p *Picture) Centred(x, y int, text string) { p.text(&p.above, "small", "middle", x, y, text) }

// Line connects points: a cable, a patch, a link. Points are x and y in turn.
func (p *Picture) Line(points ...int) { p.path("line", "", points) }

// Arrow connects points, with a head at the end.
func (p *Picture) Arrow(points ...int) { p.path("line", "arrow", points) }

// Way is what a packet takes, with a head at the end.
func (p *Picture) Way(points ...int) { p.path("way", "head", points) }

// OtherWay is a second one, drawn dashed.
func (p *Picture) OtherWay(points ...int) { p.path("way other", "head", points) }

// Step is the next number on the way.
func (p *Picture) Step(x, y int) {
	p.step++
	p.Mark(x, y, fmt.Sprint(p.step))
}

// Mark is a number or letter on the way.
func (p *Picture) Mark(x, y int, text string) {
	fmt.Fprintf(&p.above, `<circle class="step" cx="%d" cy="%d" r="9.5"/>`+"\n", x, y)
	p.text(&p.above, "number", "middle", x, y+4, text)
}

func (p *Picture) path(class, head string, points []int) {
	var d strings.Builder
	for i := 0; i+1 < len(points); i += 2 {
		fmt.Fprintf(&d, "%d,%d ", points[i], points[i+1])
	}
	end := ""
	if head != "" {
		end = fmt.Sprintf(` marker-end="url(#%s)"`, head)
	}
	fmt.Fprintf(&p.above, `<polyline class="%s" points="%s"%s/>`+"\n", class, strings.TrimSpace(d.String()), end)
}

func (p *Picture) text(b *strings.Builder, class, anchor string, x, y int, text string) {
	fmt.Fprintf(b, `<text class="%s" text-anchor="%s" x="%d" y="%d">%s</text>`+"\n", class, anchor, x, y, html.EscapeString(text))
}

// SVG is the picture as a file.
func (p *Picture) SVG() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" class="drawing">`+"\n", p.Width, p.Height)
	fmt.Fprintf(&b, "<title>%s</title>\n<style>\n%s%s</style>\n", html.EscapeString(p.Title), standaloneColours(), shapes())
	b.WriteString(`<defs><marker id="head" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="6" markerHeight="6" orient="auto"><path class="wayhead" d="M0 0 10 5 0 10z"/></marker>`)
	b.WriteString(`<marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto"><path class="linehead" d="M0 0 10 5 0 10z"/></marker></defs>` + "\n")
	fmt.Fprintf(&b, `<rect class="paper" width="%d" height="%d" rx="8"/>`+"\n", p.Width, p.Height)
	b.WriteString(p.below.String())
	b.WriteString(p.above.String())
	b.WriteString("</svg>\n")
	return b.String()
}
