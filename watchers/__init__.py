"""One watcher per cluster: list, watch, publish facts."""
