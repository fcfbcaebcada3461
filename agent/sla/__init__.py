"""Judging: a pure function of (contract, calendar, exclusions, incidents, columns)."""
