"""Instants, windows, service hours and sets of time. Pure."""
