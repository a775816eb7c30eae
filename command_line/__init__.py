"""Commands of `fmrp` that are groups of their own, and what all commands share."""
