"""A simulated Kubernetes API server: many clusters in one process, held equal to the real one by a differential test."""
