"""Real clients at the simulator, and the same sessions at a real kube-apiserver: what they print is what has to be equal."""
