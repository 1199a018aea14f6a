"""The rule labeler: mentions, negation and uncertainty for the 13 findings, from readable rule files."""
