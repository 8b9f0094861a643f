"""Hand-made mutants of the collector: each takes one guard away, and some test must notice (reliability.md §3.2)."""
