"""One number from many samples, with the bounds that missing ones leave. Pure."""
