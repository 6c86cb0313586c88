package harness

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

const (
	controlTimeout = 90 * time.Second
	stopTimeout    = 10 * time.Second
	etcdURL        = "http://127.0.0.1:2379"
	securePort     = "6443"
	serviceCIDR    = "172.30.0.0/16"
	// masterUser is treated as a service account by the API server's priority and fairness, as it is in a
	// cluster. The load is exempt.
	masterUser   = "system:serviceaccount:ovn-kubernetes:ovnkube-master"
	masterGroups = "system:serviceaccounts,system:serviceaccounts:ovn-kubernetes"
	masterRole   = "ovnkube-master"
	loadUser     = "load"
	loadGroups   = "system:masters"
)

// ControlPlane is etcd and a kube-apiserver.
type ControlPlane struct {
	etcd, apiServer *Process
	dir             string
	tokens          map[string]string
	// Version is the API server's.
	Version string
}

// ControlBinaries are paths of executables.
type ControlBinaries struct{ Etcd, APIServer string }

// StartControlPlane runs etcd and kube-apiserver and waits until the API is ready. etcd's files are on a
// tmpfs: the figures do not depend on a disk.
func StartControlPlane(ctx context.Context, b ControlBinaries) (*ControlPlane, error) {
	dir, err := os.MkdirTemp(WorkDir, "control-")
	if err != nil {
		return nil, fmt.Errorf("control plane: %w", err)
	}
	c := &ControlPlane{dir: dir, tokens: map[string]string{}}
	err = c.start(ctx, b)
	if err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

func (c *ControlPlane) start(ctx context.Context, b ControlBinaries) (err error) {
	if err := c.writeFiles(); err != nil {
		return err
	}
	c.etcd, err = Start(Command{Name: "etcd", Path: b.Etcd, Args: []string{
		"--data-dir=" + filepath.Join(c.dir, "etcd"), "--listen-client-urls=" + etcdURL, "--advertise-client-urls=" + etcdURL,
		"--listen-peer-urls=http://127.0.0.1:2380", "--unsafe-no-fsync", "--quota-backend-bytes=4294967296", "--log-level=warn",
	}})
	if err != nil {
		return err
	}
	c.apiServer, err = Start(Command{Name: "kube-apiserver", Path: b.APIServer, Args: c.apiServerArgs()})
	if err != nil {
		return err
	}
	if err := c.apiServer.WaitFor(ctx, controlTimeout, c.ready); err != nil {
		return errors.Join(err, c.etcd.Failed())
	}
	return c.allowMaster(ctx)
}

func (c *ControlPlane) path(name string) string { return filepath.Join(c.dir, name) }

func (c *ControlPlane) apiServerArgs() []string {
	return []string{
		"--etcd-servers=" + etcdURL, "--bind-address=" + Address, "--advertise-address=" + Address,
		"--secure-port=" + securePort, "--cert-dir=" + c.path("certs"),
		// There is no network here that could hold the endpoints of the service "kubernetes".
		"--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=" + serviceCIDR, "--authorization-mode=RBAC",
		"--token-auth-file=" + c.path("tokens.csv"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.path("sa.pem"), "--service-account-signing-key-file=" + c.path("sa.pem"),
		"--allow-privileged=true",
	}
}

func (c *ControlPlane) writeFiles() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("key for service accounts: %w", err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(c.path("sa.pem"), block, 0o600); err != nil {
		return fmt.Errorf("key for service accounts: %w", err)
	}
	var csv strings.Builder
	for _, user := range []struct{ name, groups string }{{masterUser, masterGroups}, {loadUser, loadGroups}} {
		secret := make([]byte, 16)
		_, _ = rand.Read(secret) // never fails
		c.tokens[user.name] = hex.EncodeToString(secret)
		fmt.Fprintf(&csv, "%s,%s,%s,%q\n", c.tokens[user.name], user.name, user.name, user.groups)
	}
	if err := os.WriteFile(c.path("tokens.csv"), []byte(csv.String()), 0o600); err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	return nil
}

func (c *ControlPlane) ready(ctx context.Context) error {
	config := c.LoadConfig()
	if _, err := os.Stat(config.CAFile); err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	if _, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err != nil {
		return err
	}
	version, err := client.Discovery().ServerVersion()
	if err != nil {
		return err
	}
	c.Version = version.GitVersion
	return nil
}

// LoadConfig returns a configuration for the side that makes load: exempt from the API server's priority
// and fairness, without a limit of its own, speaking protobuf. Each call gives a connection of its own.
func (c *ControlPlane) LoadConfig() *rest.Config {
	return c.config(loadUser)
}

// MasterConfig is LoadConfig for something in the master's place.
func (c *ControlPlane) MasterConfig() *rest.Config { return c.config(masterUser) }

func (c *ControlPlane) config(user string) *rest.Config {
	return &rest.Config{
		Host:            "https://" + Address + ":" + securePort,
		BearerToken:     c.tokens[user],
		TLSClientConfig: rest.TLSClientConfig{CAFile: c.path("certs/apiserver.crt")},
		ContentConfig:   rest.ContentConfig{ContentType: "application/vnd.kubernetes.protobuf", AcceptContentTypes: "application/vnd.kubernetes.protobuf,application/json"},
		QPS:             -1,
		UserAgent:       user,
	}
}

// allowMaster gives the master's user every right: what it may do is not measured here.
func (c *ControlPlane) allowMaster(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.LoadConfig())
	if err != nil {
		return err
	}
	_, err = client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: masterRole},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: masterUser}},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("rights of the master: %w", err)
	}
	return nil
}

// MasterKubeconfig writes and returns the kubeconfig file of the master.
func (c *ControlPlane) MasterKubeconfig() (string, error) {
	config := c.config(masterUser)
	file := api.NewConfig()
	file.Clusters["scale"] = &api.Cluster{Server: config.Host, CertificateAuthority: config.CAFile}
	file.AuthInfos[masterUser] = &api.AuthInfo{Token: config.BearerToken}
	file.Contexts["scale"] = &api.Context{Cluster: "scale", AuthInfo: masterUser}
	file.CurrentContext = "scale"
	path := c.path("master.kubeconfig")
	if err := clientcmd.WriteToFile(*file, path); err != nil {
		return "", fmt.Errorf("kubeconfig of the master: %w", err)
	}
	return path, nil
}

// Usage returns what etcd and the API server have cost together.
func (c *ControlPlane) Usage() (Usage, error) {
	e, err1 := c.etcd.Usage()
	a, err2 := c.apiServer.Usage()
	return Usage{CPU: e.CPU + a.CPU, RSS: e.RSS + a.RSS, PeakRSS: e.PeakRSS + a.PeakRSS, PSS: e.PSS + a.PSS}, errors.Join(err1, err2)
}

// Stop ends both processes and forgets their data.
func (c *ControlPlane) Stop() {
	if c == nil {
		return
	}
	c.apiServer.Stop(time.Second) // it holds nothing that must be written
	c.etcd.Stop(stopTimeout)
	_ = os.RemoveAll(c.dir) // on a tmpfs that goes with the namespace
}
