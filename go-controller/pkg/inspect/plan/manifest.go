package plan

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	strict "sigs.k8s.io/yaml"
)

// read decodes documents, lists taken apart. Unknown fields are an error.
func read(documents []byte, defaultNamespace string) ([]metav1.Object, error) {
	var out []metav1.Object
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(documents), 4096)
	for n := 1; ; n++ {
		var raw runtime.RawExtension
		if err := decoder.Decode(&raw); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		if text := bytes.TrimSpace(raw.Raw); len(text) == 0 || bytes.Equal(text, []byte("null")) {
			continue
		}
		objects, err := decode(raw.Raw)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		out = append(out, objects...)
		for _, o := range objects {
			if _, cluster := o.(*corev1.Namespace); !cluster && o.GetNamespace() == "" {
				o.SetNamespace(defaultNamespace)
			}
		}
	}
}

func decode(raw []byte) ([]metav1.Object, error) {
	var list struct {
		metav1.TypeMeta `json:",inline"`
		Items           []runtime.RawExtension `json:"items"`
	}
	if err := strict.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	if list.Kind == "List" {
		var out []metav1.Object
		for i := range list.Items {
			objects, err := decode(list.Items[i].Raw)
			if err != nil {
				return nil, fmt.Errorf("item %d: %w", i, err)
			}
			out = append(out, objects...)
		}
		return out, nil
	}
	var o metav1.Object
	switch list.Kind {
	case "NetworkPolicy":
		o = &networkingv1.NetworkPolicy{}
	case "Service":
		o = &corev1.Service{}
	case "Pod":
		o = &corev1.Pod{}
	case "Namespace":
		o = &corev1.Namespace{}
	default:
		return nil, fmt.Errorf("kind %q: want NetworkPolicy, Service, Pod or Namespace; others have no rows of their own", list.Kind)
	}
	if err := strict.UnmarshalStrict(raw, o); err != nil {
		return nil, fmt.Errorf("%s: %w", list.Kind, err)
	}
	if o.GetName() == "" {
		return nil, fmt.Errorf("%s without a name", list.Kind)
	}
	return []metav1.Object{o}, nil
}

// replace puts an object in the place of that of its name, or takes that out, and returns the former one, or nil.
func replace[T any](list *[]T, key func(*T) string, object *T, remove bool) *T {
	i := slices.IndexFunc(*list, func(o T) bool { return key(&o) == key(object) })
	var former *T
	if i >= 0 {
		o := (*list)[i]
		former = &o
		*list = slices.Delete(slices.Clone(*list), i, i+1)
	}
	if !remove {
		*list = append(slices.Clone(*list), *object)
	}
	return former
}
