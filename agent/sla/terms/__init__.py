"""What was signed and what is written beside it: contract, objectives, remedies, entries, as frozen values. Pure."""
