package selector

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Labels is a canonical label selector: selectors that say the same in other words or in another order have the same String.
// The zero value selects everything.
type Labels struct {
	requirements []requirement
	text         string
}

// requirement is one condition on one label.
type requirement struct {
	key      string
	operator metav1.LabelSelectorOperator
	values   []string // sorted, each once
}

// ParseLabels reads a label selector; nil is one that selects everything. What the API's documentation does not allow is an error.
func ParseLabels(in *metav1.LabelSelector) (Labels, error) {
	var l Labels
	if in == nil {
		return l, nil
	}
	for k, v := range in.MatchLabels {
		l.requirements = append(l.requirements, requirement{k, metav1.LabelSelectorOpIn, []string{v}})
	}
	for _, e := range in.MatchExpressions {
		r := requirement{key: e.Key, operator: e.Operator, values: slices.Clone(e.Values)}
		slices.Sort(r.values)
		r.values = slices.Compact(r.values)
		l.requirements = append(l.requirements, r)
	}
	for i := range l.requirements {
		if err := l.requirements[i].check(); err != nil {
			return Labels{}, err
		}
	}
	compare := func(a, b requirement) int { return strings.Compare(a.String(), b.String()) }
	slices.SortFunc(l.requirements, compare)
	l.requirements = slices.CompactFunc(l.requirements, func(a, b requirement) bool { return a.String() == b.String() })
	var texts []string
	for _, r := range l.requirements {
		texts = append(texts, r.String())
	}
	l.text = strings.Join(texts, ",")
	return l, nil
}

// check refuses what is no condition on labels. Keys and values have to be ones that a label can have: others could make two selectors look the same as texts.
// The API server lets some through.
func (r requirement) check() error {
	switch r.operator {
	case metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn:
		if len(r.values) == 0 {
			return fmt.Errorf("label %q: operator %s needs values", r.key, r.operator)
		}
	case metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist:
		if len(r.values) > 0 {
			return fmt.Errorf("label %q: operator %s takes no values", r.key, r.operator)
		}
	default:
		return fmt.Errorf("label %q: operator %q is none of In, NotIn, Exists, DoesNotExist", r.key, r.operator)
	}
	if problems := validation.IsQualifiedName(r.key); len(problems) > 0 {
		return fmt.Errorf("%q is no label's key: %s", r.key, strings.Join(problems, "; "))
	}
	for _, v := range r.values {
		if problems := validation.IsValidLabelValue(v); len(problems) > 0 {
			return fmt.Errorf("label %q: no label has the value %q: %s", r.key, v, strings.Join(problems, "; "))
		}
	}
	return nil
}

// String is as kubectl takes it, for example "app=web,tier in (a,b),!old".
func (r requirement) String() string {
	switch {
	case r.operator == metav1.LabelSelectorOpExists:
		return r.key
	case r.operator == metav1.LabelSelectorOpDoesNotExist:
		return "!" + r.key
	case r.operator == metav1.LabelSelectorOpIn && len(r.values) == 1:
		return r.key + "=" + r.values[0]
	case r.operator == metav1.LabelSelectorOpIn:
		return r.key + " in (" + strings.Join(r.values, ",") + ")"
	case len(r.values) == 1:
		return r.key + "!=" + r.values[0]
	}
	return r.key + " notin (" + strings.Join(r.values, ",") + ")"
}

// String is the canonical text, empty for a selector of everything.
func (l Labels) String() string { return l.text }

// everything tells whether there are no requirements.
func (l Labels) everything() bool { return len(l.requirements) == 0 }

// Matches tells whether labels fulfil all requirements. An absent label fulfils NotIn, as the API says.
func (l Labels) Matches(labels map[string]string) bool {
	for i := range l.requirements {
		if !l.requirements[i].matches(labels) {
			return false
		}
	}
	return true
}

func (r *requirement) matches(labels map[string]string) bool {
	value, ok := labels[r.key]
	switch r.operator {
	case metav1.LabelSelectorOpIn:
		return ok && slices.Contains(r.values, value)
	case metav1.LabelSelectorOpNotIn:
		return !ok || !slices.Contains(r.values, value)
	case metav1.LabelSelectorOpExists:
		return ok
	default:
		return !ok
	}
}

// pair is a label and its value.
type pair struct{ key, value string }

// needs is a label and value without which nothing matches, if there is one.
func (l Labels) needs() (pair, bool) {
	for i := range l.requirements {
		if r := &l.requirements[i]; r.operator == metav1.LabelSelectorOpIn && len(r.values) == 1 {
			return pair{r.key, r.values[0]}, true
		}
	}
	return pair{}, false
}
