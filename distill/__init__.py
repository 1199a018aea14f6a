"""How the student learns: one round, step by step."""
