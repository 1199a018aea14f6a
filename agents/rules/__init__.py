"""The rule labeler: mentions, negation and uncertainty for the 13 findings, from readable rule files."""

from functools import lru_cache

from teachback.agents.rules.engine import Mention, RuleEngine
from teachback.agents.rules.ruleset import RuleSet

__all__ = ["Mention", "RuleEngine", "RuleSet", "packaged_engine", "packaged_ruleset"]


@lru_cache(maxsize=1)
def packaged_engine() -> RuleEngine:
    """Return the engine of the package's own rules: all who read by them share it, and what it remembers."""
    return RuleEngine(packaged_ruleset())


@lru_cache(maxsize=1)
def packaged_ruleset() -> RuleSet:
    """Return the package's own rules."""
    return RuleSet.load()
