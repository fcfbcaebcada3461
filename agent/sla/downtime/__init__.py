"""Up and down by every definition that contracts use. Pure."""
