// Package manifests has the Kubernetes objects of the chart dist/helm/ovnkube as files for kubectl: ovnkube.yaml is all of it, rights.yaml
// what the product needs beside its processes where these are no pods. Both are rendered from the chart: make manifests.
package manifests

import _ "embed"

// Rights are the objects that give the components their rights: service accounts, roles, admission policies, and the empty objects
// for the certificate authorities.
//
//go:embed rights.yaml
var Rights string
