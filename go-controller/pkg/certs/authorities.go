package certs

import (
	"bytes"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/cert"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// settle is how long new authorities wait, after they have been made, before they sign: by then hosts whose master or agent runs have
// them in their files.
const settle = 2 * time.Minute

// Authorities are the two of a cluster.
type Authorities struct {
	Node, Master *Authority
	// From is when they may sign; zero, where there are no former ones whose certificates could be in use.
	From time.Time
}

// OpenAuthorities reads the authorities from their Secret, and makes them where the Secret is empty. Then it sees to it that the
// ConfigMap has their certificates. Secret and ConfigMap must be there: the master may change these two, but not create any.
func OpenAuthorities(ctx context.Context, client kubernetes.Interface, now time.Time) (Authorities, error) {
	secret, err := client.CoreV1().Secrets(names.Namespace).Get(ctx, names.Authorities, metav1.GetOptions{})
	if err != nil {
		return Authorities{}, fmt.Errorf("secret %s/%s with the certificate authorities: %w", names.Namespace, names.Authorities, err)
	}
	if len(secret.Data) == 0 {
		if secret, err = makeAuthorities(ctx, client, secret, now); err != nil {
			return Authorities{}, err
		}
	}
	var a Authorities
	if a.Node, err = ParseAuthority(secret.Data[names.NodeAuthorityKey], secret.Data[names.NodeAuthorityPrivateKey]); err == nil {
		a.Master, err = ParseAuthority(secret.Data[names.MasterAuthorityKey], secret.Data[names.MasterAuthorityPrivateKey])
	}
	if err != nil {
		return Authorities{}, fmt.Errorf("secret %s/%s: %w (without data, it is filled anew)", names.Namespace, names.Authorities, err)
	}
	succeeds, err := a.publish(ctx, client, now)
	if succeeds {
		a.From = later(a.Node.made(), a.Master.made()).Add(settle)
	}
	return a, err
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// makeAuthorities fills the Secret. When another replica comes first, the conflict is an error, and the next try finds that one's.
func makeAuthorities(ctx context.Context, client kubernetes.Interface, secret *corev1.Secret, now time.Time) (*corev1.Secret, error) {
	secret = secret.DeepCopy()
	secret.Data = map[string][]byte{}
	for _, k := range []struct{ name, cert, key string }{
		{names.NodeAuthority, names.NodeAuthorityKey, names.NodeAuthorityPrivateKey}, {names.MasterAuthority, names.MasterAuthorityKey, names.MasterAuthorityPrivateKey},
	} {
		a, err := NewAuthority(k.name, now)
		if err != nil {
			return nil, err
		}
		if secret.Data[k.cert], secret.Data[k.key], err = a.PEM(); err != nil {
			return nil, err
		}
	}
	out, err := client.CoreV1().Secrets(names.Namespace).Update(ctx, secret, metav1.UpdateOptions{})
	if err != nil {
		return nil, fmt.Errorf("write new certificate authorities to secret %s/%s: %w", names.Namespace, names.Authorities, err)
	}
	klog.InfoS("Made new certificate authorities", "secret", klog.KObj(out))
	return out, nil
}

// publish writes the ConfigMap. Authorities before the present ones stay in it: what they have signed is still in use. succeeds tells
// whether there are any.
func (a Authorities) publish(ctx context.Context, client kubernetes.Interface, now time.Time) (succeeds bool, err error) {
	maps := client.CoreV1().ConfigMaps(names.Namespace)
	m, err := maps.Get(ctx, names.Authorities, metav1.GetOptions{})
	if err != nil {
		return false, fmt.Errorf("config map %s/%s for the certificate authorities: %w", names.Namespace, names.Authorities, err)
	}
	m = m.DeepCopy()
	if m.Data == nil {
		m.Data = map[string]string{}
	}
	changed := false
	for key, authority := range map[string]*Authority{names.NodeAuthorityKey: a.Node, names.MasterAuthorityKey: a.Master} {
		bundle := bundle(authority, []byte(m.Data[key]), now)
		succeeds = succeeds || bundle != string(encode(authority.certificate))
		if bundle != m.Data[key] {
			m.Data[key], changed = bundle, true
		}
	}
	if !changed {
		return succeeds, nil
	}
	if _, err := maps.Update(ctx, m, metav1.UpdateOptions{}); err != nil && !apierrors.IsConflict(err) {
		return false, fmt.Errorf("publish the certificate authorities: %w", err)
	} else if err != nil { // another replica publishes the same, or an operator something else: look again
		return a.publish(ctx, client, now)
	}
	return succeeds, nil
}

// bundle is the authority's certificate and, after it, those of published that have not expired.
func bundle(a *Authority, published []byte, now time.Time) string {
	out := encode(a.certificate)
	former, err := cert.ParseCertsPEM(published)
	if err != nil {
		return string(out) // nothing there that anybody could use
	}
	for _, c := range former {
		if !c.Equal(a.certificate) && now.Before(c.NotAfter) && !bytes.Contains(out, encode(c)) {
			out = append(out, encode(c)...)
		}
	}
	return string(out)
}
