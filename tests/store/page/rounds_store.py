"""A store that has something for every page: the audited one, with figures of its rounds."""

from pathlib import Path
from typing import Any

from tests.store import audited_store

from teachback.store.database import Store

# (round, split, metric, target): value, low, high; n and positives are those of a split.
FIGURES: dict[tuple[str, str, str, str], tuple[float, float | None, float | None]] = {
    ("rnd_1", "gate", "f1", "Edema"): (0.6, 0.5, 0.7),
    ("rnd_2", "gate", "f1", "Edema"): (0.8, 0.7, 0.9),
    ("rnd_3", "gate", "f1", "Edema"): (1.0, None, None),
    ("rnd_linear", "gate", "f1", "Edema"): (0.5, 0.5, 0.6),
    ("rnd_1", "test", "f1", "Edema"): (0.25, 0.0, 0.5),
    ("rnd_2", "gate", "micro_f1", "all"): (0.75, 0.7, 0.8),
    ("rnd_2", "gate", "macro_f1", "all"): (0.7, 0.6, 0.8),
    ("rnd_2", "gate", "delta_f1", "Edema"): (-0.1, -0.2, 0.0),
    ("rnd_2", "gate", "ece_before", "Edema"): (0.3, 0.2, 0.4),
    ("rnd_2", "gate", "ece_after", "Edema"): (0.1, 0.0, 0.2),
    ("rnd_2", "calibration", "ece_before", "Edema"): (0.2, None, None),
}


def build(path: Path) -> Path:
    """Write the store."""
    audited_store.build(path)
    rows: list[dict[str, Any]] = [
        {
            "evaluation_id": "-".join(named),
            "subject": named[0],
            "round_id": named[0],
            "split": named[1],
            "task": "findings",
            "metric": named[2],
            "target": named[3],
            "n": 40,
            "positives": 12,
            "value": value,
            "low": low,
            "high": high,
            "note": "the calibration was fitted on these reports" if named[1] == "calibration" else None,
        }
        for named, (value, low, high) in FIGURES.items()
    ]
    with Store(path) as store:
        store.write({"evaluations": rows})
    return path
