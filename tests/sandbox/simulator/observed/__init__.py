"""What a real kube-apiserver said: cases, and its answers in `*.json`, which the simulator must give as well.

`python -m tests.sandbox.simulator.observed` asks a real one again and writes the answers anew.
"""
