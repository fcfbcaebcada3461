"""The agent's configuration: read, checked as a whole, frozen."""
