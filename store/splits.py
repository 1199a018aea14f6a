"""Which reports may be trained on, and which are kept for calibration, the gate and the test.

A *unit* is never divided: a patient's reports, or, where a corpus tells no patients, the reports with one text. Units
whose texts are the same or nearly so are joined into groups, and a group's split follows from a seeded hash of its id
alone. What has a split keeps it; a later report joins its group. Only groups with a curated label are worth keeping
out of training, so the fractions hold among those, and the others go to `train`.

Joining has a ceiling: among thousands of patients, a template such as "no acute cardiopulmonary process" would chain
nearly all of them into one group. A join that would make a group larger than `MAX_GROUP` reports or `MAX_GROUP_SHARE`
of the store is left out. (Sentences that many patients share are how radiologists write, not a leak of one's report.)
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from teachback.errors import SettingError
from teachback.store.database import Store
from teachback.store.identity import content_id
from teachback.store.near_duplicates import near_duplicates, normalise

__all__ = ["DEFAULT_FRACTIONS", "MAX_GROUP", "MAX_GROUP_SHARE", "SPLITS", "SplitReport", "assign_splits", "plan_splits"]

SPLITS = ("train", "calibration", "gate", "test")
DEFAULT_FRACTIONS: Mapping[str, float] = {"train": 0.55, "calibration": 0.20, "gate": 0.10, "test": 0.15}

MAX_GROUP = 50  # reports; a group may always grow to this
MAX_GROUP_SHARE = 0.02  # of all reports in the store


@dataclass(frozen=True, slots=True)
class SplitReport:
    """What the splits need to know of a report.

    Attributes:
        report_id: The report.
        text: Its full-scope text, as it stands.
        subject: The patient, unique over corpora; None when unknown.
        curated: Whether it has a curated label of the task `findings`.
        group_id: The group that it is in already; None for a new report.
        split: The split that it has already; None for a new report.
    """

    report_id: str
    text: str
    subject: str | None = None
    curated: bool = False
    group_id: str | None = None
    split: str | None = None


def assign_splits(store: Store, fractions: Mapping[str, float] = DEFAULT_FRACTIONS, seed: int = 0) -> dict[str, int]:
    """Give each report without a split its own, and write it to the table `splits`.

    Args:
        store: The store, open for writing.
        fractions: Split to its share of the groups that have curated labels; they sum to 1.
        seed: What the splits are drawn from.

    Returns:
        Split to number of reports, over the whole store.

    Raises:
        SettingError: The fractions name an unknown split or do not sum to 1.
    """
    reports = _read(store)
    plan = plan_splits(reports, fractions, seed)
    store.write(
        {
            "splits": [
                {"report_id": report_id, "split": split, "group_id": group_id, "seed": seed}
                for report_id, (split, group_id) in plan.items()
            ]
        }
    )
    sizes = Counter(split for split, _ in plan.values()) + Counter(report.split for report in reports if report.split)
    return {split: sizes[split] for split in SPLITS}


def plan_splits(
    reports: Sequence[SplitReport], fractions: Mapping[str, float] = DEFAULT_FRACTIONS, seed: int = 0
) -> dict[str, tuple[str, str]]:
    """Return each new report's (split, group id); those that have a split are left out.

    Args:
        reports: All reports, those with a split included.
        fractions: Split to its share of the groups that have curated labels.
        seed: What the splits are drawn from.
    """
    _check(fractions)
    if all(report.split for report in reports):
        return {}
    units = _units(reports)
    groups = _Groups(units, ceiling=max(MAX_GROUP, int(MAX_GROUP_SHARE * len(reports))))
    for one, other in _links(units):
        groups.join(one, other)
    plan: dict[str, tuple[str, str]] = {}
    for members in groups.members():
        anchor = next((unit for unit in members if unit.split), None)
        group_id = anchor.group_id if anchor else content_id("grp", min(unit.key for unit in members))
        if anchor:
            split = anchor.split
        else:
            split = _draw(group_id, fractions, seed) if any(unit.curated for unit in members) else "train"
        new = [report_id for unit in members for report_id in unit.new_reports]
        plan.update(dict.fromkeys(new, (split, group_id)))
    return plan


@dataclass
class _Unit:
    """A patient's reports, or the reports with one text where the patient is unknown."""

    key: str
    size: int = 0
    curated: bool = False
    group_id: str = ""
    split: str = ""
    texts: dict[str, None] = field(default_factory=dict)  # normalised; a dict for its order
    new_reports: list[str] = field(default_factory=list)


def _units(reports: Iterable[SplitReport]) -> list[_Unit]:
    units: dict[str, _Unit] = {}
    for report in sorted(reports, key=lambda report: report.report_id):
        text = normalise(report.text)
        key = f"subject {report.subject}" if report.subject is not None else f"text {text}"
        unit = units.setdefault(key, _Unit(key))
        unit.size += 1
        unit.curated |= report.curated
        unit.texts[text] = None
        if report.split:
            unit.group_id, unit.split = report.group_id or "", report.split
        else:
            unit.new_reports.append(report.report_id)
    return list(units.values())


def _links(units: Sequence[_Unit]) -> Iterable[tuple[int, int]]:
    """Yield pairs of units to join, those with the same text before those with nearly the same."""
    holders: dict[str, list[int]] = defaultdict(list)
    for number, unit in enumerate(units):
        for text in unit.texts:
            holders[text].append(number)
    for same in holders.values():
        yield from ((same[0], other) for other in same[1:])
    texts = list(holders)
    for one, other in near_duplicates(texts):
        yield holders[texts[one]][0], holders[texts[other]][0]


class _Groups:
    """Union-find over units that never joins two groups which have a split, nor grows a group past the ceiling."""

    def __init__(self, units: Sequence[_Unit], ceiling: int) -> None:
        self.units, self.ceiling = units, ceiling
        self.parent = list(range(len(units)))
        self.sizes = [unit.size for unit in units]
        self.anchors = [unit.group_id for unit in units]
        first: dict[str, int] = {}
        for number, unit in enumerate(units):  # what was one group stays one, whatever its size
            if unit.group_id:
                self._merge(first.setdefault(unit.group_id, number), number)

    def join(self, one: int, other: int) -> None:
        a, b = self._root(one), self._root(other)
        if self.sizes[a] + self.sizes[b] <= self.ceiling and not (self.anchors[a] and self.anchors[b]):
            self._merge(a, b)

    def members(self) -> list[list[_Unit]]:
        gathered: dict[int, list[_Unit]] = defaultdict(list)
        for number, unit in enumerate(self.units):
            gathered[self._root(number)].append(unit)
        return list(gathered.values())

    def _merge(self, one: int, other: int) -> None:
        a, b = self._root(one), self._root(other)
        if a != b:
            self.parent[b] = a
            self.sizes[a] += self.sizes[b]
            self.anchors[a] = self.anchors[a] or self.anchors[b]

    def _root(self, number: int) -> int:
        while self.parent[number] != number:
            self.parent[number] = self.parent[self.parent[number]]
            number = self.parent[number]
        return number


def _draw(group_id: str, fractions: Mapping[str, float], seed: int) -> str:
    digest = hashlib.blake2b(f"{seed} {group_id}".encode(), digest_size=8).digest()
    point = int.from_bytes(digest, "big") / 2**64
    for split in SPLITS:
        point -= fractions.get(split, 0.0)
        if point < 0:
            return split
    return "train"


def _check(fractions: Mapping[str, float]) -> None:
    unknown = set(fractions) - set(SPLITS)
    if unknown or any(share < 0 for share in fractions.values()) or abs(sum(fractions.values()) - 1) > 1e-6:
        raise SettingError(
            f"split fractions {dict(fractions)} are not shares of {', '.join(SPLITS)} that sum to 1",
            "such as train=0.55, calibration=0.20, gate=0.10, test=0.15",
        )


def _read(store: Store) -> list[SplitReport]:
    query = """
        WITH curated AS (SELECT DISTINCT report_id FROM curated_labels WHERE task = 'findings')
        SELECT report_id,
            coalesce(nullif(concat_ws(chr(10), findings, impression), ''), text, comparison, ''),
            corpus || '/' || subject_id, c.report_id IS NOT NULL, s.group_id, s.split
        FROM reports r LEFT JOIN curated c USING (report_id) LEFT JOIN splits s USING (report_id)"""
    return [SplitReport(*row) for row in store.connection.execute(query).fetchall()]
