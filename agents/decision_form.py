"""The strict JSON form that the adjudicator fills in: its schema, and the reading of what was filled in."""

from collections.abc import Mapping, Sequence
from typing import Any

from teachback.agents.calls import Answer
from teachback.agents.forms import StrictEntry, check_keys, object_schema, status_schema, validated
from teachback.store.label import Status

__all__ = ["DecisionEntry", "DecisionForm", "decision_schema", "read_decision_form"]


class DecisionEntry(StrictEntry):
    """One disputed target: the reason first, so that the status follows from it."""

    rationale: str
    evidence: str
    status: Status


class DecisionForm(StrictEntry):
    """What the adjudicator fills in: every disputed target by its key."""

    verdicts: dict[str, DecisionEntry]


def decision_schema(targets: Mapping[str, str]) -> dict[str, Any]:
    """Return the adjudicator's schema: an enum a disputed target.

    Args:
        targets: Key in the form to what it stands for.
    """
    return object_schema(
        {
            "verdicts": object_schema(
                {
                    key: {
                        "description": target,
                        **object_schema(
                            {"rationale": {"type": "string"}, "evidence": {"type": "string"}, "status": status_schema()}
                        ),
                    }
                    for key, target in targets.items()
                }
            )
        }
    )


def read_decision_form(answer: Answer, keys: Sequence[str]) -> DecisionForm:
    """Read the adjudicator's answer on the targets of these keys.

    Raises:
        TeacherReplyError: It is not the form, or a target is missing from it.
    """
    form = validated(answer, DecisionForm)
    check_keys(answer.report_id, form.verdicts, keys)
    return form
