"""What runs without anything installed: an embedded nats-server and real API servers from a cache."""
