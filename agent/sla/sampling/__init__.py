"""Whether what is measured can show what was promised. Pure."""
