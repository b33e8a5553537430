"""Where records go: one small protocol, one module for each kind of sink."""
