// Package certs gives the OVSDB connections of a cluster their certificates.
//
// There are two certificate authorities. One signs for the control plane (database servers and their peers, masters,
// ovn-northd), the other for nodes. Whoever listens for the control plane alone trusts the first only: a node's certificate is worth
// nothing there. Their keys are in one Secret, their certificates in one ConfigMap.
//
// The Signer, in the master that leads, signs CertificateSigningRequests; Decide says for whom. The Requester makes a key on its own
// host, asks for a certificate and renews it in time. Keys never leave the host where they were made.
package certs
