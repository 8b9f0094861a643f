//go:build tools

// Package envtest pins the real control plane that tests and `demo --real` run:
// kube-apiserver, kube-controller-manager and etcd, built from their own Go modules.
package envtest

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
)
