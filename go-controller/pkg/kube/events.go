package kube

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
)

// Recorder tells users about an object that cannot be served, where they look: in Events.
type Recorder interface {
	// Warn records a Warning. It does not block; repetitions are folded and limited.
	Warn(about Ref, reason, message string)
}

// NewRecorder writes Events of component through client until ctx ends.
func NewRecorder(ctx context.Context, client corev1client.CoreV1Interface, component string) Recorder {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: client.Events("")})
	return recorder{broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: component})}
}

type recorder struct{ events record.EventRecorder }

// maxMessage is how much of a message an Event and the log get, in bytes: what is complained about may be as long as its author likes.
const maxMessage = 1024

func shorten(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return strings.ToValidUTF8(message[:maxMessage-len("…")], "") + "…"
}

// Warn implements Recorder.
func (r recorder) Warn(about Ref, reason, message string) {
	message = shorten(message)
	klog.InfoS("Warning", "about", about.String(), "reason", reason, "message", message)
	version := "v1"
	if about.Kind == kindNetworkPolicy {
		version = networkingv1.SchemeGroupVersion.String()
	}
	r.events.Event(&corev1.ObjectReference{
		APIVersion: version, Kind: about.Kind, Namespace: about.Namespace, Name: about.Name, UID: about.UID,
	}, corev1.EventTypeWarning, reason, message)
}
