"""A corpus of synthetic, fictitious chest X-ray reports whose truth is known (see `generate`)."""

from teachback.store.corpora.synthetic.generate import generate
from teachback.store.corpora.synthetic.truth import Disease, SyntheticReport

__all__ = ["Disease", "SyntheticReport", "generate"]
