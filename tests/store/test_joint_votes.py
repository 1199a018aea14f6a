"""What was said together is what the labels say one by one, whoever spoke twice, however many labelers there are."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from teachback.store.database import Store
from teachback.store.label import FINDINGS, STATUSES

START = datetime(2026, 1, 1, tzinfo=UTC)


def store_of(path: Path, labelers: int, again: float) -> Store:
    """Twenty reports, each labelled by some; a share of the labels is given anew later, and one is taken back."""
    rng = np.random.default_rng(labelers)
    kinds = ["human", "rule", *["student"] * (labelers - 2)]
    who = [{"labeler_id": f"lbr_{n:03}", "kind": kind, "name": f"n{n}", "version": "1"} for n, kind in enumerate(kinds)]
    rows = []
    for report in range(20):
        for labeler in who:
            for target in FINDINGS[:3]:
                for turn in range(1 + int(rng.random() < again)) if rng.random() < 0.8 else ():
                    rows.append(
                        {
                            "label_id": f"lab_{len(rows):05}",
                            "report_id": f"r{report:02}",
                            "task": "findings",
                            "target": target,
                            "status": str(rng.choice(STATUSES)),
                            "scope": "full",
                            "labeler_id": labeler["labeler_id"],
                            "created_at": START + timedelta(seconds=turn),
                        }
                    )
    undone = next(row for row in rows if row["labeler_id"] == "lbr_000")
    step = {
        "report_id": undone["report_id"],
        "labeler_id": "lbr_000",
        "reviewer": "ann",
        "decided_at": START,
        "blind": False,
    }
    store = Store(path)
    store.write(
        {
            "labelers": who,
            "labels": rows,
            "reviews": [
                {"review_id": "rev_1", "action": "set", "label_id": undone["label_id"], **step},
                {"review_id": "rev_2", "action": "undo", "undoes": "rev_1", **step},
            ],
        }
    )
    return store


@pytest.mark.parametrize("labelers", [3, 130])
@pytest.mark.parametrize("again", [0.0, 0.2])
def test_joint_votes(tmp_path: Path, labelers: int, again: float) -> None:
    with store_of(tmp_path / "labels.duckdb", labelers, again) as store:
        said: dict[tuple[str, str], set[tuple[str, str]]] = {}
        query = "SELECT report_id, target, labeler_id, status FROM current_labels"
        for report_id, target, labeler_id, status in store.connection.execute(query).fetchall():
            said.setdefault((report_id, target), set()).add((labeler_id, status))
        expected = Counter((target, frozenset(votes)) for (_, target), votes in said.items())
        found = store.connection.execute("SELECT target, votes, cells FROM joint_votes").fetchall()
        counted = {
            (target, frozenset((vote["labeler_id"], vote["status"]) for vote in votes)): cells
            for target, votes, cells in found
        }
        assert counted == expected
        assert len(found) == len(counted)
        assert sum(map(len, said.values())) == sum(len(votes) * cells for _, votes, cells in found)
