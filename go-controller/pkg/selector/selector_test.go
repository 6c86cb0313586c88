package selector

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"
)

func mustParse(t testing.TB, s *metav1.LabelSelector) Labels {
	t.Helper()
	l, err := ParseLabels(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Selectors that say the same are one text, others are not.
func TestLabelsAreCanonical(t *testing.T) {
	in := func(key string, values ...string) metav1.LabelSelectorRequirement {
		return metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpIn, Values: values}
	}
	for want, list := range map[string][]*metav1.LabelSelector{
		"":     {nil, {}},
		"a=1":  {{MatchLabels: map[string]string{"a": "1"}}, {MatchExpressions: []metav1.LabelSelectorRequirement{in("a", "1")}}, {MatchLabels: map[string]string{"a": "1"}, MatchExpressions: []metav1.LabelSelectorRequirement{in("a", "1", "1")}}},
		"a=,b": {{MatchLabels: map[string]string{"a": ""}, MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "b", Operator: metav1.LabelSelectorOpExists}}}},
		"!a":   {{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: metav1.LabelSelectorOpDoesNotExist}}}},
		"a!=1": {{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"1"}}}}},
		"a=1,b in (x,y)": {
			{MatchLabels: map[string]string{"a": "1"}, MatchExpressions: []metav1.LabelSelectorRequirement{in("b", "x", "y")}},
			{MatchExpressions: []metav1.LabelSelectorRequirement{in("b", "y", "x", "y"), in("a", "1")}},
		},
	} {
		for _, s := range list {
			if got := mustParse(t, s).String(); got != want {
				t.Errorf("%+v is %q, want %q", s, got, want)
			}
		}
	}
}

func TestLabelsThatMakeNoSense(t *testing.T) {
	for _, r := range []metav1.LabelSelectorRequirement{
		{Key: "a", Operator: "Near"}, {Key: "a", Operator: metav1.LabelSelectorOpIn}, {Key: "a", Operator: metav1.LabelSelectorOpNotIn},
		{Key: "a", Operator: metav1.LabelSelectorOpExists, Values: []string{"x"}}, {Operator: metav1.LabelSelectorOpExists},
		// Would read as "a!=x,y", like another selector, and as a port.
		{Key: "a", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"x,y"}}, {Key: "a", Operator: metav1.LabelSelectorOpIn, Values: []string{"b TCP/http=80"}},
		{Key: "a,b", Operator: metav1.LabelSelectorOpExists},
	} {
		if l, err := ParseLabels(&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{r}}); err == nil {
			t.Errorf("%+v is read as %q, want an error", r, l)
		}
	}
	if l, err := ParseLabels(&metav1.LabelSelector{MatchLabels: map[string]string{"a": "1,b=2"}}); err == nil {
		t.Errorf("a label with a comma is read as %q, want an error", l)
	}
}

// FuzzLabels holds what is matched against Kubernetes' own implementation.
func FuzzLabels(f *testing.F) {
	f.Add("app", "web", uint8(0), "tier", "a", "b", uint8(1), "app", "web", "tier", "a")
	f.Add("app", "web", uint8(1), "tier", "x,y", "z", uint8(2), "app", "web", "tier", "x")
	f.Add("app", "", uint8(3), "app", "x", "", uint8(2), "app", "", "other", "y")
	operators := []metav1.LabelSelectorOperator{metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn, metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist, "Near"}
	f.Fuzz(func(t *testing.T, k1, v1 string, op1 uint8, k2, v2, v3 string, op2 uint8, l1, w1, l2, w2 string) {
		s := &metav1.LabelSelector{MatchLabels: map[string]string{k1: v1}, MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: k2, Operator: operators[int(op1)%len(operators)], Values: []string{v2, v3}}, {Key: k1, Operator: operators[int(op2)%len(operators)]},
		}}
		theirs, err := metav1.LabelSelectorAsSelector(s)
		ours, ourErr := ParseLabels(s)
		if (err != nil) != (ourErr != nil) {
			t.Fatalf("%+v: %v, want %v", s, ourErr, err)
		}
		if err != nil {
			return
		}
		set := labels.Set{l1: w1, l2: w2}
		if got, want := ours.Matches(set), theirs.Matches(set); got != want {
			t.Errorf("%s on %v: %v, want %v", ours, set, got, want)
		}
		// The text says all, so selectors with the same text select the same.
		read, err := labels.Parse(ours.String())
		if err != nil {
			t.Fatalf("%q cannot be read: %v", ours, err)
		}
		if got, want := ours.Matches(set), read.Matches(set); got != want {
			t.Errorf("%s on %v: %v, but its text says %v", ours, set, got, want)
		}
		if need, ok := ours.needs(); ok && ours.Matches(set) && set[need.key] != need.value {
			t.Errorf("%s matches %v without %v", ours, set, need)
		}
	})
}

// naive is an index that looks at everything each time.
type naive struct {
	pods       map[string]Pod
	namespaces map[string]map[string]string
	selectors  map[string]Selector
}

func (n *naive) members(s Selector) []string {
	var out []string
	for key, p := range n.pods {
		labels, known := n.namespaces[p.Namespace]
		in := p.Namespace == s.Namespace || s.Namespace == "" && (s.Namespaces.String() == "" || known && s.Namespaces.Matches(labels))
		if in && s.Pods.Matches(p.Labels) && (s.Port == nil || slices.Contains(p.Ports, *s.Port)) {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

func (n *naive) numbers(s Selector, name PortName) []uint16 {
	var out []uint16
	for _, key := range n.members(s) {
		for _, p := range n.pods[key].Ports {
			if p.PortName == name {
				out = append(out, p.Number)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

var testName = PortName{Protocol: "TCP", Name: "http"}

func drawPod(t *rapid.T) Pod {
	p := Pod{Namespace: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "namespace")}
	p.Key = p.Namespace + "/" + rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "name")
	p.Labels = drawLabels(t)
	if rapid.Bool().Draw(t, "port") {
		p.Ports = []Port{{testName, rapid.SampledFrom([]uint16{80, 81}).Draw(t, "number")}}
	}
	return p
}

func drawLabels(t *rapid.T) map[string]string {
	return rapid.MapOf(rapid.SampledFrom([]string{"app", "tier"}), rapid.SampledFrom([]string{"1", "2"})).Draw(t, "labels")
}

func drawSelector(t *rapid.T) Selector {
	expression := func(what string) Labels {
		s := &metav1.LabelSelector{MatchLabels: rapid.MapOfN(rapid.SampledFrom([]string{"app", "tier"}), rapid.SampledFrom([]string{"1", "2"}), 0, 1).Draw(t, what)}
		if rapid.Bool().Draw(t, "expression") {
			s.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "tier", Operator: rapid.SampledFrom([]metav1.LabelSelectorOperator{metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist}).Draw(t, "operator")}}
		}
		l, _ := ParseLabels(s)
		return l
	}
	s := Selector{Pods: expression("pods")}
	if rapid.Bool().Draw(t, "own namespace") {
		s.Namespace = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "namespace")
	} else {
		s.Namespaces = expression("namespaces")
	}
	if rapid.IntRange(0, 3).Draw(t, "port") == 0 {
		s.Port = &Port{testName, 80}
	}
	return s
}

// Whatever changes in whatever order, the sets are what a look at everything gives; those who are told of a change of numbers know them all; and
// a pod's sets are those that it is a member of.
func TestIndexAgreesWithALookAtEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		model := &naive{pods: map[string]Pod{}, namespaces: map[string]map[string]string{}, selectors: map[string]Selector{}}
		known := map[string][]uint16{}
		x := NewIndex(func(s *Set, name PortName) { known[s.Key()] = s.Numbers(name) })
		sets := map[string]*Set{}
		t.Repeat(map[string]func(*rapid.T){
			"pod": func(t *rapid.T) {
				p := drawPod(t)
				before := keys(x.Of(p.Key))
				model.pods[p.Key] = p
				if changed := x.SetPod(p); changed != !slices.Equal(before, keys(x.Of(p.Key))) {
					t.Errorf("SetPod says %v for %v → %v", changed, before, keys(x.Of(p.Key)))
				}
			},
			"no pod": func(t *rapid.T) {
				key := drawPod(t).Key
				delete(model.pods, key)
				x.DeletePod(key)
			},
			"namespace": func(t *rapid.T) {
				name, labels := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name"), drawLabels(t)
				before := map[string][]string{}
				for key := range model.pods {
					before[key] = keys(x.Of(key))
				}
				var changed []string
				if rapid.IntRange(0, 4).Draw(t, "delete") == 0 {
					delete(model.namespaces, name)
					changed = x.DeleteNamespace(name)
				} else {
					model.namespaces[name] = labels
					changed = x.SetNamespace(name, labels)
				}
				for key := range model.pods {
					if slices.Contains(changed, key) == slices.Equal(before[key], keys(x.Of(key))) {
						t.Errorf("%s: told %v, was in %v, is in %v", key, changed, before[key], keys(x.Of(key)))
					}
				}
			},
			"selector": func(t *rapid.T) {
				s := drawSelector(t)
				key := s.String()
				if sets[key] != nil {
					t.Skip("there already")
				}
				model.selectors[key], sets[key] = s, x.Add(s)
				x.Follow(sets[key], testName)
				known[key] = sets[key].Numbers(testName)
			},
			"no selector": func(t *rapid.T) {
				all := slices.Sorted(maps.Keys(sets))
				if len(all) == 0 {
					t.Skip("none")
				}
				key := rapid.SampledFrom(all).Draw(t, "selector")
				x.Unfollow(sets[key], testName)
				x.Release(sets[key])
				delete(sets, key)
				delete(model.selectors, key)
				delete(known, key)
			},
			"": func(t *rapid.T) {
				for key, s := range model.selectors {
					want := model.members(s)
					if got := slices.Sorted(sets[key].Members); !slices.Equal(got, want) {
						t.Fatalf("%q has %v, want %v", key, got, want)
					}
					for _, n := range model.numbers(s, testName) {
						if !slices.Contains(known[key], n) {
							t.Fatalf("%q: told of numbers %v, want %d, too", key, known[key], n)
						}
					}
					if got := sets[key].Numbers(testName); !slices.Equal(got, known[key]) {
						t.Fatalf("%q: numbers are %v, told of %v", key, got, known[key])
					}
					for pod := range model.pods {
						if slices.Contains(want, pod) != slices.Contains(keys(x.Of(pod)), key) {
							t.Fatalf("%s is in %v, members of %q are %v", pod, keys(x.Of(pod)), key, want)
						}
					}
				}
			},
		})
		for _, set := range sets {
			x.Release(set)
		}
		for key := range model.pods {
			x.DeletePod(key)
		}
		for name := range model.namespaces {
			x.DeleteNamespace(name)
		}
		if len(x.pods)+len(x.sets)+len(x.groups)+len(x.namespaces) > 0 {
			t.Errorf("left over: %d pods, %d sets, %d groups, %d namespaces", len(x.pods), len(x.sets), len(x.groups), len(x.namespaces))
		}
	})
}

func keys(sets []*Set) []string {
	var out []string
	for _, s := range sets {
		out = append(out, s.Key())
	}
	return out
}

// A pod's change costs the same whether there are ten or ten thousand selectors that do not concern it.
func BenchmarkSetPod(b *testing.B) {
	for _, others := range []int{10, 10000} {
		b.Run(fmt.Sprint(others, " others"), func(b *testing.B) {
			x := NewIndex(nil)
			for i := range others {
				x.Add(Selector{Namespace: fmt.Sprint("ns", i%500), Pods: mustParse(b, &metav1.LabelSelector{MatchLabels: map[string]string{"app": fmt.Sprint(i)}})})
				x.Add(Selector{Pods: mustParse(b, &metav1.LabelSelector{MatchLabels: map[string]string{"app": fmt.Sprint(i)}})})
			}
			x.Add(Selector{Namespace: "ns0"})
			b.ResetTimer()
			for i := range b.N {
				x.SetPod(Pod{Key: "ns0/p", Namespace: "ns0", Labels: map[string]string{"app": fmt.Sprint("p", i)}})
			}
		})
	}
}
