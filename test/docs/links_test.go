// Package docs checks the documentation: links and anchors lead somewhere, every page is within reach, pictures are what is drawn.
package docs

import (
	"encoding/json"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

const root = "../.."

// page is a document: the anchors that it has and what it refers to.
type page struct {
	anchors map[string]bool
	targets []string
}

// read parses a document of Markdown, with tables.
func read(t *testing.T, name string) page {
	t.Helper()
	source, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, source)
}

func parse(t *testing.T, source []byte) page {
	t.Helper()
	p := page{anchors: map[string]bool{}}
	tree := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(source))
	err := ast.Walk(tree, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			p.addAnchor(slug(words(n, source)))
		case *ast.Link:
			p.targets = append(p.targets, string(n.Destination))
		case *ast.Image:
			p.targets = append(p.targets, string(n.Destination))
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// addAnchor numbers headings of the same words, as GitHub and the site do.
func (p page) addAnchor(s string) {
	name := s
	for i := 1; p.anchors[name]; i++ {
		name = s + "-" + string(rune('0'+i))
	}
	p.anchors[name] = true
}

func words(n ast.Node, source []byte) string {
	var b strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if t, ok := c.(*ast.Text); ok {
			b.Write(t.Segment.Value(source))
		} else {
			b.WriteString(words(c, source))
		}
	}
	return b.String()
}

// slug is GitHub's rule for anchors; the site's configuration has the same.
func slug(heading string) string {
	keep := func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsNumber(r), unicode.IsMark(r):
			return unicode.ToLower(r)
		}
		return -1
	}
	return strings.Map(keep, strings.TrimSpace(heading))
}

// documents are the Markdown files of the repository's documentation, by path from the root.
func documents(t *testing.T) []string {
	t.Helper()
	out := []string{"README.md", "CONTRIBUTING.md"}
	for _, folder := range []string{"docs", "dist"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && d.Name() == "node_modules" {
				return filepath.SkipDir
			}
			if strings.HasSuffix(path, ".md") {
				name, err := filepath.Rel(root, path)
				out = append(out, name)
				return err
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// Every relative link leads to a file of the repository, and every anchor to a heading.
func TestLinks(t *testing.T) {
	names := documents(t)
	pages := map[string]page{}
	for _, name := range names {
		pages[name] = read(t, filepath.Join(root, name))
	}
	checked := 0
	for _, name := range names {
		for _, target := range pages[name].targets {
			if problem := broken(pages, name, target); problem != "" {
				t.Errorf("%s: link %q: %s", name, target, problem)
			}
			checked++
		}
	}
	if checked < 100 {
		t.Errorf("only %d links were found", checked)
	}
}

// broken says what is wrong with a link; links to other sites are not looked at.
func broken(pages map[string]page, from, target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return err.Error()
	}
	if u.Scheme != "" {
		return ""
	}
	to := from
	if u.Path != "" {
		to = filepath.Join(filepath.Dir(from), u.Path)
	}
	if _, err := os.Stat(filepath.Join(root, to)); err != nil {
		return "no such file"
	}
	if u.Fragment == "" {
		return ""
	}
	p, ok := pages[to]
	if !ok {
		return "an anchor of what is not a document"
	}
	if !p.anchors[u.Fragment] {
		return "no such heading"
	}
	return ""
}

// The check finds what it is for.
func TestBrokenLinks(t *testing.T) {
	p := parse(t, []byte("# A `b` c\n\n## Same\n\n## Same\n\n| x |\n|---|\n| [y](#same-1) |\n\n![z](pictures/no.svg)\n"))
	for _, anchor := range []string{"a-b-c", "same", "same-1"} {
		if !p.anchors[anchor] {
			t.Errorf("no anchor %q among %v", anchor, p.anchors)
		}
	}
	if want := []string{"#same-1", "pictures/no.svg"}; !slices.Equal(p.targets, want) {
		t.Errorf("targets %q, want %q", p.targets, want)
	}
	pages := map[string]page{"docs/metrics.md": p}
	for target, want := range map[string]string{
		"#same-1": "", "#same-2": "no such heading", "gone.md": "no such file", "metrics.md#same": "", "https://example.org/#x": "",
		"../Makefile#lint": "an anchor of what is not a document",
	} {
		if got := broken(pages, "docs/metrics.md", target); got != want {
			t.Errorf("link %q: %q, want %q", target, got, want)
		}
	}
}

// Code, manifests and tests name documents that exist, and headings that they have.
func TestDocumentsNamed(t *testing.T) {
	mention := regexp.MustCompile(`\bdocs/([\w/.-]+\.md)(?:#([\w-]+))?`)
	found := 0
	for _, folder := range []string{"go-controller", "test", "dist"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !slices.Contains([]string{".go", ".yaml", ".json", ".sh", ".tpl", ".txt"}, filepath.Ext(path)) {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range mention.FindAllStringSubmatch(string(data), -1) {
				found++
				file := filepath.Join(root, "docs", m[1])
				if _, err := os.Stat(file); err != nil {
					t.Errorf("%s names %s, which does not exist", path, m[0])
				} else if m[2] != "" && !read(t, file).anchors[m[2]] {
					t.Errorf("%s names %s: no such heading", path, m[0])
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 30 {
		t.Errorf("only %d documents are named", found)
	}
}

// Every page is in the site's navigation, and what is in the navigation exists.
func TestNavigation(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "docs/.vitepress/nav.json"))
	if err != nil {
		t.Fatal(err)
	}
	var sections []struct {
		Title  string
		Pages  []string
		Folder string // what is in it and not named comes after the pages
	}
	if err := json.Unmarshal(data, &sections); err != nil {
		t.Fatal(err)
	}
	reachable := map[string]bool{"README.md": true}
	var folders []string
	for _, s := range sections {
		for _, p := range s.Pages {
			if reachable[p] {
				t.Errorf("%s is in the navigation twice", p)
			}
			reachable[p] = true
			if _, err := os.Stat(filepath.Join(root, "docs", p)); err != nil {
				t.Errorf("the navigation has %s: %v", p, err)
			}
		}
		if s.Folder != "" {
			folders = append(folders, s.Folder)
		}
	}
	for _, name := range documents(t) {
		page, ok := strings.CutPrefix(name, "docs/")
		if ok && !reachable[page] && !slices.Contains(folders, filepath.Dir(page)) {
			t.Errorf("docs/%s is not in the navigation: docs/.vitepress/nav.json", page)
		}
	}
}
