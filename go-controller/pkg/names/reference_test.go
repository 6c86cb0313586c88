package names

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the reference")

const (
	reference = "../../../docs/reference/names.md"
	marker    = "<!-- From the code: go test ./go-controller/pkg/names -update -->\n"
)

// files are the package's files in the reference's order, with their headings.
func files() [][2]string {
	return [][2]string{
		{"names.go", "Bridges, rows, annotations"}, {"node.go", "On a node"}, {"openflow.go", "Flows and connection tracking"},
		{"gateway.go", "Gateways"}, {"netfilter.go", "Netfilter, and routes by mark"}, {"services.go", "Services"},
		{"policy.go", "Network policies, and priorities of ACLs"}, {"copp.go", "Protection of ovn-controller"},
		{"certs.go", "Identities and certificates"}, {"inspect.go", "Pods, ports of metrics, Leases"},
	}
}

// The reference has every name of this package, with what the code says it is for; -update writes it.
func TestReference(t *testing.T) {
	data, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	before, after, found := strings.Cut(string(data), marker)
	if !found {
		t.Fatalf("%s lacks the line %q", reference, marker)
	}
	text := describe(t)
	if *update {
		if err := os.WriteFile(reference, []byte(before+marker+text), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(text, after); diff != "" {
		t.Errorf("%s: run with -update (-code +document):\n%s", reference, diff)
	}
}

// source is the parsed package, and how names in it are evaluated.
type source struct {
	files     []*ast.File
	constants map[string]ast.Expr
	functions map[string]*ast.FuncDecl
}

func load(t *testing.T) *source {
	t.Helper()
	s := &source{constants: map[string]ast.Expr{}, functions: map[string]*ast.FuncDecl{}}
	fset := token.NewFileSet()
	for _, f := range files() {
		parsed, err := parser.ParseFile(fset, f[0], nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		s.files = append(s.files, parsed)
		for _, d := range parsed.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				s.functions[d.Name.Name] = d
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok && d.Tok == token.CONST {
						s.constants[v.Names[0].Name] = v.Values[0]
					}
				}
			}
		}
	}
	others, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	known := len(files())
	for _, o := range others {
		if strings.HasSuffix(o.Name(), ".go") && !strings.HasSuffix(o.Name(), "_test.go") {
			known--
		}
	}
	if known != 0 {
		t.Fatal("files of this package are missing in the reference: add them to files()")
	}
	return s
}

func describe(t *testing.T) string {
	s := load(t)
	var b strings.Builder
	for i, file := range s.files {
		fmt.Fprintf(&b, "\n## %s\n", files()[i][1])
		var single, made strings.Builder
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.GenDecl:
				if d.Tok != token.CONST {
					break
				}
				if len(d.Specs) == 1 {
					s.rows(t, &single, d)
					break
				}
				fmt.Fprintf(&b, "\n%s\n\n%s", oneLine(d.Doc.Text()), header)
				s.rows(t, &b, d)
			case *ast.FuncDecl:
				if value := s.result(d, nil); value != "" && d.Name.IsExported() {
					row(&made, value, d.Name.Name, d.Doc.Text())
				}
			}
		}
		if single.Len() > 0 {
			fmt.Fprintf(&b, "\nAlone:\n\n%s%s", header, single.String())
		}
		if made.Len() > 0 {
			fmt.Fprintf(&b, "\nMade of other names:\n\n%s%s", header, made.String())
		}
		if files()[i][0] == "gateway.go" {
			addresses(&b)
		}
	}
	return b.String()
}

const header = "| Name | In the code | Meaning |\n|---|---|---|\n"

// rows writes the constants of a declaration, each with its comment, or, if it is alone, the declaration's.
func (s *source) rows(t *testing.T, b *strings.Builder, d *ast.GenDecl) {
	for _, spec := range d.Specs {
		v := spec.(*ast.ValueSpec)
		value := s.eval(v.Values[0], nil)
		if value == "" {
			t.Fatalf("constant %s: its value is not understood", v.Names[0].Name)
		}
		comment := v.Doc.Text()
		if comment == "" {
			comment = v.Comment.Text()
		}
		if comment == "" && len(d.Specs) == 1 {
			comment = d.Doc.Text()
		}
		if v.Names[0].IsExported() {
			row(b, value, v.Names[0].Name, comment)
		}
	}
}

func row(b *strings.Builder, value, name, comment string) {
	for _, begin := range []string{name + " is ", name + " are ", name + ": "} {
		comment = strings.TrimPrefix(comment, begin)
	}
	fmt.Fprintf(b, "| `%s` | %s | %s |\n", strings.ReplaceAll(value, " or ", "`, `"), name, strings.ReplaceAll(oneLine(comment), "|", `\|`))
}

func oneLine(text string) string {
	return strings.NewReplacer("<", "&lt;", "{", "&#123;").Replace(strings.Join(strings.Fields(text), " "))
}

// result is what a function of names returns: with its parameters' names in angle brackets, and " or " between the two families.
func (s *source) result(f *ast.FuncDecl, bound map[string]string) string {
	if bound == nil {
		bound = map[string]string{}
		for _, p := range f.Type.Params.List {
			for _, n := range p.Names {
				bound[n.Name] = "<" + n.Name + ">"
			}
		}
	}
	var out []string
	for _, statement := range f.Body.List {
		switch statement := statement.(type) {
		case *ast.ReturnStmt:
			out = append(out, s.eval(statement.Results[0], bound))
		case *ast.IfStmt:
			inner, ok := statement.Body.List[0].(*ast.ReturnStmt)
			if !ok || statement.Init != nil {
				return ""
			}
			out = append(out, s.eval(inner.Results[0], bound))
		default:
			return ""
		}
	}
	for _, o := range out {
		if o == "" {
			return ""
		}
	}
	return strings.Join(out, " or ")
}

// eval is an expression's value; "" when it is none that the reference shows.
func (s *source) eval(e ast.Expr, bound map[string]string) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil {
			return text
		}
		return e.Value
	case *ast.Ident:
		if v, ok := bound[e.Name]; ok {
			return v
		}
		if c, ok := s.constants[e.Name]; ok {
			return s.eval(c, nil)
		}
	case *ast.BinaryExpr:
		x, y := s.eval(e.X, bound), s.eval(e.Y, bound)
		if e.Op == token.ADD && x != "" && y != "" && !strings.Contains(x+y, " or ") {
			return x + y
		}
	case *ast.CallExpr:
		return s.call(e, bound)
	}
	return ""
}

func (s *source) call(e *ast.CallExpr, bound map[string]string) string {
	switch f := e.Fun.(type) {
	case *ast.SelectorExpr: // strconv.Itoa
		if f.Sel.Name == "Itoa" {
			return s.eval(e.Args[0], bound)
		}
	case *ast.Ident:
		switch f.Name {
		case "digest":
			return "<hash>"
		case "familySuffix":
			return "_<v4, v6>"
		case "ObjectName":
			return "<namespace>/<name>"
		}
		if called, ok := s.functions[f.Name]; ok {
			inner := map[string]string{}
			for i, p := range called.Type.Params.List[0].Names {
				inner[p.Name] = s.eval(e.Args[i], bound)
			}
			return s.result(called, inner)
		}
	}
	return ""
}

// addresses are those that every node has and that never leave it.
func addresses(b *strings.Builder) {
	fmt.Fprintf(b, "\nMasquerade addresses, the same on every node; what each is for is in [topology](../design/topology.md#addresses):\n\n| IPv4 | IPv6 | In the code |\n|---|---|---|\n")
	for _, a := range []struct {
		name string
		of   func(bool) netip.Addr
	}{
		{"MasqueradeOVN", MasqueradeOVN}, {"MasqueradeHost", MasqueradeHost}, {"MasqueradeHostLocal", MasqueradeHostLocal}, {"MasqueradeNextHop", MasqueradeNextHop},
		{"MasqueradeHairpin", MasqueradeHairpin}, {"MasqueradeNobody", MasqueradeNobody}, {"MasqueradeForwarded", MasqueradeForwarded},
	} {
		fmt.Fprintf(b, "| %s | %s | %s |\n", a.of(true), a.of(false), a.name)
	}
}

// Every annotation is explained to operators.
func TestAnnotationsAreExplained(t *testing.T) {
	const document = "../../../docs/reference/annotations.md"
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	s, found := load(t), 0
	for name, value := range s.constants {
		if strings.HasSuffix(name, "Annotation") {
			found++
			if !strings.Contains(string(text), "`"+s.eval(value, nil)+"`") {
				t.Errorf("%s does not explain %s", document, s.eval(value, nil))
			}
		}
	}
	if found < 9 {
		t.Errorf("only %d annotations were found", found)
	}
}
