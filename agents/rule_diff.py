"""What an edit of the rules does to the labels: two rule sets on the same reports, and the labels that flip.

A flip is a finding of a report whose status differs. A finding that only one of the rule sets has counts as unmentioned
in the other, as it is blank in CheXpert's format. No Finding follows from the 13 and is not counted by itself.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from teachback.agents.rule_labeler import RuleLabeler
from teachback.agents.rules import Mention
from teachback.store.label import Evidence, Status
from teachback.store.report import Report

__all__ = ["Flip", "Kind", "RuleDiff", "diff_rules"]

Kind = tuple[Status, Status]
"""The status by the old rules, and by the new ones."""
Verdict = tuple[Status, tuple[Evidence, ...]]

_UNMENTIONED: Verdict = ("unmentioned", ())


@dataclass(frozen=True, slots=True)
class Flip:
    """One label that differs, and what each side rests on.

    Attributes:
        report_id: The report.
        finding: The finding.
        old: Status by the old rules.
        new: Status by the new ones.
        old_mention: The mention that decided for the old rules. Where they say unmentioned, the first one that they
            leave aside (history, advice); None where they see none.
        new_mention: Likewise for the new ones.
    """

    report_id: str
    finding: str
    old: Status
    new: Status
    old_mention: Mention | None
    new_mention: Mention | None


@dataclass(slots=True)
class RuleDiff:
    """What two rule sets' labels of the same reports come to.

    Attributes:
        reports: Reports read.
        without_text: Of these, reports without text in the scope: neither rule set labels them.
        touched: Reports with at least one flip.
        flips: Finding to kind of flip to reports; most flips first, a finding without any is left out.
        examples: Some flips of each finding, in the order of `flips`; as many kinds of them as there is room for.
        only_old: Findings that the new rules lack.
        only_new: Findings that the old rules lack.
    """

    reports: int = 0
    without_text: int = 0
    touched: int = 0
    flips: dict[str, Counter[Kind]] = field(default_factory=dict)
    examples: list[Flip] = field(default_factory=list)
    only_old: tuple[str, ...] = ()
    only_new: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Labels that flip."""
        return sum(kinds.total() for kinds in self.flips.values())

    @property
    def touched_share(self) -> float:
        """Share of the reports with at least one flip, in [0, 1]; 0 without reports."""
        return self.touched / self.reports if self.reports else 0.0


def diff_rules(reports: Iterable[Report], old: RuleLabeler, new: RuleLabeler, examples: int = 3) -> RuleDiff:
    """Label reports by two rule sets and compare the labels.

    Args:
        reports: The reports, each read once.
        old: Labels by the old rules.
        new: Labels by the new ones, from the same scope.
        examples: Flips to keep of each finding: the first of each kind, then the second, and so on.
    """
    has_old, has_new = old.engine.ruleset.finding_names, new.engine.ruleset.finding_names
    findings = tuple(dict.fromkeys((*has_old, *has_new)))
    counts: defaultdict[str, Counter[Kind]] = defaultdict(Counter)
    kept: defaultdict[tuple[str, Kind], list[Flip]] = defaultdict(list)
    diff = RuleDiff(
        only_old=tuple(name for name in has_old if name not in has_new),
        only_new=tuple(name for name in has_new if name not in has_old),
    )
    for report in reports:
        before, after = old.verdicts(report) or {}, new.verdicts(report) or {}
        flipped = _flipped(findings, before, after)
        diff.reports += 1
        diff.without_text += not before and not after
        diff.touched += bool(flipped)
        for finding, kind in flipped.items():
            counts[finding][kind] += 1
            if len(kept[finding, kind]) < examples:
                mentions = (_deciding(old, report, finding, before), _deciding(new, report, finding, after))
                kept[finding, kind].append(Flip(report.report_id, finding, *kind, *mentions))
    ranked = sorted((name for name in findings if name in counts), key=lambda name: -counts[name].total())
    diff.flips = {name: counts[name] for name in ranked}
    for name in ranked:
        by_kind = [kept[name, kind] for kind, _ in counts[name].most_common()]
        diff.examples += _one_of_each_first(by_kind)[:examples]
    return diff


def _flipped(findings: Sequence[str], before: Mapping[str, Verdict], after: Mapping[str, Verdict]) -> dict[str, Kind]:
    """Return the findings whose status differs."""
    kinds = {name: (before.get(name, _UNMENTIONED)[0], after.get(name, _UNMENTIONED)[0]) for name in findings}
    return {name: kind for name, kind in kinds.items() if kind[0] != kind[1]}


def _deciding(labeler: RuleLabeler, report: Report, finding: str, verdicts: Mapping[str, Verdict]) -> Mention | None:
    """Return the mention that a verdict rests on first; an unmentioned finding's first mention, if it has any."""
    mentions = (mention for mention in labeler.mentions(report) if mention.finding == finding)
    _, evidence = verdicts.get(finding, _UNMENTIONED)
    if not evidence:
        return next(mentions, None)
    place = (evidence[0].section, evidence[0].start, evidence[0].end)
    return next(mention for mention in mentions if (mention.section, mention.start, mention.end) == place)


def _one_of_each_first(by_kind: Sequence[Sequence[Flip]]) -> list[Flip]:
    return [flip for turn in zip_longest(*by_kind) for flip in turn if flip is not None]
