"""Pure: no suspension, no clock, no randomness, no I/O (habit 3)."""
