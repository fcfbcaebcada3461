"""Types, errors, time and the catalogue of probe kinds."""
