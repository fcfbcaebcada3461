"""Numbers, definitions and contracts in plain language. Pure."""
