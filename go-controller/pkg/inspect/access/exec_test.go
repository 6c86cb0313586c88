package access

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// Who may not run commands in pods is told from what does not work. Where WebSockets are refused SPDY is tried: it takes another right.
func TestExecRefused(t *testing.T) {
	forbidden := apierrors.NewForbidden(corev1.Resource("pods"), "db-0", nil).Status()
	missing := apierrors.NewNotFound(corev1.Resource("pods"), "db-0").Status()
	for _, c := range []struct {
		name string
		// get and create are the answers to WebSockets and to SPDY.
		get, create metav1.Status
		forbidden   bool
	}{
		{"no right at all", forbidden, forbidden, true},
		{"the right for SPDY alone", forbidden, missing, false},
		{"no pod", missing, missing, false},
		{"a proxy, which says what it likes", metav1.Status{Code: http.StatusForbidden}, metav1.Status{Code: http.StatusBadGateway}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				answer := c.get
				if r.Method == http.MethodPost {
					answer = c.create
				}
				w.WriteHeader(int(answer.Code))
				if answer.Reason != "" {
					_ = json.NewEncoder(w).Encode(answer)
				} else {
					_, _ = w.Write([]byte("not today"))
				}
			}))
			defer server.Close()
			config := &rest.Config{Host: server.URL}
			client, err := corev1client.NewForConfig(config)
			if err != nil {
				t.Fatal(err)
			}
			e := &Exec{Config: config, Client: client}
			err = e.Run(context.Background(), Container{Namespace: "n", Pod: "db-0", Name: "c"}, Streams{Out: &strings.Builder{}}, "true")
			want := c.create.Message
			if want == "" {
				want = "not today"
			}
			if err == nil || apierrors.IsForbidden(err) != c.forbidden || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want it forbidden: %v, and %q", err, c.forbidden, want)
			}
		})
	}
}
