"""What clients can tell of an API server: one suite for the simulated and the real one.

Every test here runs on both, with the same assertions; what is only true of one of them does not belong here.
"""
