"""The fixtures of `sample`, for all tests of this folder."""

from tests.store.exports.sample import by_rules, curated, labelled, snapshot

__all__ = ["by_rules", "curated", "labelled", "snapshot"]
