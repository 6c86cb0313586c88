package draw

import (
	"fmt"
	"strings"
)

// colour is one variable of the pictures' style, for light and for dark paper.
type colour struct{ name, light, dark string }

func colours() []colour {
	return []colour{
		{"paper", "#ffffff", "#1b1b1f"},
		{"ink", "#1f2937", "#e5e7eb"},
		{"faint", "#4b5563", "#b3b9c4"},
		{"line", "#7c8796", "#8b94a3"},
		{"zone", "#f3f5f8", "#24262c"},
		{"zone-edge", "#c9d0da", "#454b57"},
		{"bridge", "#e4edfb", "#1f2d44"},
		{"bridge-edge", "#7da3dc", "#5078b5"},
		{"pod", "#dcf3e2", "#1d3d2a"},
		{"pod-edge", "#4f9e68", "#5fb37c"},
		{"logical", "#ffffff", "#15233a"},
		{"logical-edge", "#3f74c4", "#7ba7ea"},
		{"host", "#fdf0d8", "#43351a"},
		{"host-edge", "#c08a2c", "#d3a24c"},
		{"process", "#ece8fb", "#302a4d"},
		{"process-edge", "#7c6bc4", "#9d8ee0"},
		{"store", "#e7ecf1", "#2f3640"},
		{"store-edge", "#6b7888", "#93a0b0"},
		{"outside", "#f7e3e3", "#452626"},
		{"outside-edge", "#b46464", "#d48686"},
		{"way", "#c2410c", "#fb923c"},
		{"on-way", "#ffffff", "#1b1b1f"},
	}
}

func variables(pick func(colour) string) string {
	var b strings.Builder
	for _, c := range colours() {
		fmt.Fprintf(&b, "--p-%s:%s;", c.name, pick(c))
	}
	return b.String()
}

func light() string { return variables(func(c colour) string { return c.light }) }
func dark() string  { return variables(func(c colour) string { return c.dark }) }

// standaloneColours follow the system's setting, for a picture that is looked at by itself or in a repository's browser.
func standaloneColours() string {
	return fmt.Sprintf(".drawing{%s}\n@media (prefers-color-scheme:dark){.drawing{%s}}\n", light(), dark())
}

// Stylesheet is for pages that have the pictures in them and their own switch between light and dark (class dark).
func Stylesheet() string {
	return fmt.Sprintf("/* Written by go test ./docs -update, in folder test. */\n.drawing{%s}\n.dark .drawing{%s}\n%s", light(), dark(), shapes())
}

func shapes() string {
	var b strings.Builder
	b.WriteString(`.drawing text{font-family:ui-sans-serif,system-ui,"Segoe UI","Helvetica Neue",Arial,sans-serif;fill:var(--p-ink)}
.drawing .head{font-size:13px;font-weight:600}
.drawing .small{font-size:12px;fill:var(--p-faint)}
.drawing .label{font-size:12.5px;font-weight:600;fill:var(--p-faint)}
.drawing .number{font-size:12px;font-weight:700;fill:var(--p-on-way)}
.drawing .paper{fill:var(--p-paper)}
.drawing .zone{fill:var(--p-zone);stroke:var(--p-zone-edge)}
.drawing .bridge{fill:var(--p-bridge);stroke:var(--p-bridge-edge)}
.drawing .line{fill:none;stroke:var(--p-line);stroke-width:1.6}
.drawing .linehead{fill:var(--p-line)}
.drawing .way{fill:none;stroke:var(--p-way);stroke-width:2.4;stroke-linejoin:round}
.drawing .other{stroke-dasharray:6 4}
.drawing .wayhead,.drawing .step{fill:var(--p-way)}
.drawing .box{stroke-width:1.4}
`)
	for _, k := range []Kind{Pod, Logical, Host, Process, Store, Outside} {
		fmt.Fprintf(&b, ".drawing .%s{fill:var(--p-%s);stroke:var(--p-%s-edge)}\n", k, k, k)
	}
	return b.String()
}
