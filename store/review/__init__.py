"""Review by people: what is worth looking at, what they decide, and what follows for the labelers."""
