"""Requests that are handed in together, answered within a day, and cost half: OpenAI's Batch API."""

from teachback.agents.batch.desk import BatchDesk, check_batchable
from teachback.agents.batch.outcome import Collected, Exhausted, Outcome, Submitted, UnderWay
from teachback.agents.batch.rounds import hand_in

__all__ = [
    "BatchDesk",
    "Collected",
    "Exhausted",
    "Outcome",
    "Submitted",
    "UnderWay",
    "check_batchable",
    "hand_in",
]
