"""The built-in types: their schemas, which come from a real kube-apiserver, and what its Go code adds to them."""
