"""The curated statuses of a split, as an array, and what may be read from a curator's silence."""

from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt

from teachback.agents.aggregate.votes import NO_VOTE, UNMENTIONED, code_of
from teachback.errors import SettingError
from teachback.store.label import FINDINGS
from teachback.store.report import SCOPES

__all__ = ["Curated", "fetch_truths"]

LEARNING_SPLITS = ("calibration", "train")  # a figure of the others must not steer what they measure


@dataclass(frozen=True)
class Curated:
    """Curated statuses of R reports.

    Attributes:
        report_ids: The reports, in the order of their ids.
        codes: Index into `STATUSES`, -1 where nothing is curated, shape `(R, 13)`.
        scopes: Index into `SCOPES`, -1 likewise, shape `(R, 13)`.
        positives_only: Where the curator says `absent` of nothing in the split: it marks what is there, and its
            `unmentioned` tells no more than that the finding is not, shape `(R, 13)`.
    """

    report_ids: tuple[str, ...]
    codes: npt.NDArray[np.int8]
    scopes: npt.NDArray[np.int8]
    positives_only: npt.NDArray[np.bool_]

    @property
    def truths(self) -> npt.NDArray[np.int8]:
        """The statuses that can be held to be true, -1 elsewhere, shape `(R, 13)`."""
        vague = self.positives_only & (self.codes == UNMENTIONED)
        return np.where(vague, np.int8(NO_VOTE), self.codes)


def fetch_truths(connection: duckdb.DuckDBPyConnection, split: str = "calibration") -> Curated:
    """Read the curated statuses of a split.

    Raises:
        SettingError: The split is kept for judging.
    """
    if split not in LEARNING_SPLITS:
        raise SettingError(f"split {split} is kept for judging", f"learn from {' or '.join(LEARNING_SPLITS)}")
    found = connection.execute(
        f"SELECT report_id, {code_of('target', FINDINGS)} AS finding, {code_of('status')} AS code, "
        f"{code_of('scope', SCOPES)} AS scope, "
        "bool_or(status = 'absent') OVER (PARTITION BY labeler_id) AS says_absent "
        "FROM curated_labels JOIN splits USING (report_id) "
        f"WHERE split = ? AND task = 'findings' AND target IN ({', '.join('?' * len(FINDINGS))})",
        [split, *FINDINGS],
    ).fetchnumpy()
    report_ids, rows = np.unique(found["report_id"].astype(str), return_inverse=True)
    place = (rows, found["finding"])
    shape = (len(report_ids), len(FINDINGS))
    codes, scopes = np.full(shape, NO_VOTE, dtype=np.int8), np.full(shape, -1, dtype=np.int8)
    positives_only = np.zeros(shape, dtype=bool)
    codes[place], scopes[place], positives_only[place] = found["code"], found["scope"], ~found["says_absent"]
    return Curated(tuple(report_ids.tolist()), codes, scopes, positives_only)
