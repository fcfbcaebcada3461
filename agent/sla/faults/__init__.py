"""Outages joined with tickets, repair times, who is responsible. Pure."""
