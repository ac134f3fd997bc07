"""The network, its task head and the bundle that it travels in."""
