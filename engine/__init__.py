"""The engine: pure core, runtime doors, sandbox."""
