"""The doors to the outside: event log, cluster API, clock; and what drives the core through them."""
