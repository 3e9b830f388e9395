"""How a node is reached and spoken to: addresses, TLS, calls, their failures."""
