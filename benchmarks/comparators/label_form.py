"""The answer that every framework is told to validate: the same form as Teachback's, in pydantic alone.

It is read in environments in which Teachback is not installed.
"""

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

__all__ = ["LabelForm", "questions"]

FINDINGS = 13


class StatusEntry(BaseModel):
    """One finding's status and the words it rests on."""

    status: Literal["present", "absent", "uncertain", "unmentioned"]
    evidence: str


class DiseaseEntry(BaseModel):
    """One disease phrase with its ICD-10-CM code."""

    name: str
    icd10: str
    evidence: str


class LabelForm(BaseModel):
    """Every finding, and the diseases."""

    findings: dict[str, StatusEntry]
    diseases: list[DiseaseEntry]

    def complete(self) -> bool:
        """Whether every finding has its entry."""
        return len(self.findings) == FINDINGS


def questions(path: Path) -> list[dict[str, str]]:
    """Read the questions, one a line: `{"system": ..., "user": ...}`."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
