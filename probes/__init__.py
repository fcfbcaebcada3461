"""Measure: what happened on the wire? Every module directly in this package is one kind of probe."""
