"""The rule labeler: mentions, negation and uncertainty for the 13 findings, from readable rule files."""

from teachback.agents.rules.engine import Mention, RuleEngine
from teachback.agents.rules.ruleset import RuleSet

__all__ = ["Mention", "RuleEngine", "RuleSet"]
