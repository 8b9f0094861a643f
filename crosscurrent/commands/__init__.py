"""The commands, one module each, imported only when called so that `crosscurrent --help` is instant."""
