"""Time that does not count: what of the ledgers holds under the contract's terms. Pure."""
