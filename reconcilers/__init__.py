"""The built-in reconcilers, and the registry that finds them and yours."""
