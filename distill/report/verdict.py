"""The headline: what the campaign shows, and what it does not, from its figures alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from teachback.distill.report.figures import Direction, Subject, as_change, as_figure, direction, list_subjects

__all__ = ["Headline", "feedback_sentences", "headline"]

_SHOWN: dict[Direction, str] = {
    "better": "shown to be better",
    "worse": "shown to be worse",
    "not shown": "not shown, the interval holds zero",
    "undefined": "no interval",
}


@dataclass(frozen=True, slots=True)
class Headline:
    """What to say first.

    Attributes:
        tone: `good` where the champion is shown to beat its teacher, `bad` where it is shown to be worse or where
            no student stands, `open` where nothing is shown.
        title: One sentence.
        points: The figures behind it.
        split: The split that it speaks of.
        champion: The champion; None where the record does not hold it.
        teacher: The teacher.
    """

    tone: Literal["good", "bad", "open"]
    title: str
    points: tuple[str, ...]
    split: str
    champion: Subject | None
    teacher: Subject | None


def headline(record: Mapping[str, Any], over_linear: Mapping[str, Any] | None = None) -> Headline:
    """Say what a campaign came to.

    Args:
        record: The campaign's record.
        over_linear: The champion's paired change over the bag-of-words student on the same split, if there is one.
    """
    subjects = {subject.name: subject for subject in list_subjects(record)}
    champion, teacher = subjects.get(record["champion"]), subjects.get("teacher")
    split = "test" if champion is not None and champion.test is not None else "gate"
    if champion is None or champion.on(split) is None:
        return Headline("open", "The champion was not judged", (), split, champion, teacher)
    micro, macro = (champion.gain(split, name) for name in ("micro", "macro"))
    shown = direction(micro)
    points = [_standing(champion, teacher, split), _over_teacher(champion, split, micro, macro)]
    if split == "gate":
        points.append(
            "The test split has not been opened: these are figures of the gate, which the rounds were chosen by."
        )
    if over_linear is not None:
        points.append(_over_linear(over_linear))
    points += [_alone(s, split) for s in subjects.values() if s.role == "labeler" and _beats_teacher(s, split)]
    points += feedback_sentences(record)
    points.append(f"Why it ended: {record['stopped']}.")
    if champion.name == "base model":
        title = "No round was promoted: the base model, untrained, is still the champion"
        return Headline("bad", title, tuple(points), split, champion, teacher)
    tone = {"better": "good", "worse": "bad"}.get(shown, "open")
    return Headline(tone, _title(champion, split, shown), tuple(points), split, champion, teacher)  # type: ignore[arg-type]


def feedback_sentences(record: Mapping[str, Any]) -> list[str]:
    """Say for each feedback round what feedback brought over its control arm."""
    words: dict[Direction, str] = {
        "better": "feedback is shown to help",
        "worse": "feedback is shown to do harm",
        "not shown": "an effect of feedback is not shown",
        "undefined": "there is no interval to judge by",
    }
    sentences = []
    for compared in record["feedback_over_control"]:
        for split in ("test", "gate"):
            paired = compared[split]
            sentences.append(
                f"Feedback against its control arm, round {compared['round']} on {split}: micro-F1 "
                f"{as_change(paired['micro'])}, macro-F1 {as_change(paired['macro'])}{_right(paired)}, "
                f"{paired['n_reports']:,} reports: {words[direction(paired['micro'])]}."
            )
        if compared.get("to_the_gate") == "control":
            sentences.append(f"Round {compared['round']} put its control arm to the gate, the better on calibration.")
    return sentences


def _right(paired: Mapping[str, Any]) -> str:
    """Say how many more statuses are right; nothing where the curated labels know positives only."""
    gain = paired.get("accuracy")  # records of earlier versions have none
    if gain is None or gain["value"] is None:
        return ""
    return f", share of right statuses {as_change(gain)} ({_SHOWN[direction(gain)]})"


def _title(champion: Subject, split: str, shown: Direction) -> str:
    who = f"The student ({champion.name})"
    if champion.name == "linear":
        who = "The bag-of-words student"
    return {
        "better": f"{who} scores above its teacher on {split}",
        "worse": f"{who} is worse than its teacher on {split}",
        "not shown": f"It is not shown that {who[0].lower()}{who[1:]} differs from its teacher on {split}",
        "undefined": f"{who} could not be compared with its teacher on {split}",
    }[shown]


def _standing(champion: Subject, teacher: Subject | None, split: str) -> str:
    judged = champion.on(split)
    figures = judged["figures"] if judged else {}
    beside = "" if teacher is None else f", its teacher {as_figure(teacher.measure(split, 'micro'))}"
    return (
        f"Micro-F1 on {split}: {champion.name} {as_figure(champion.measure(split, 'micro'))}{beside} "
        f"({figures['n_reports']:,} reports, {figures['positives']:,} positives)."
    )


def _over_teacher(champion: Subject, split: str, micro: Any, macro: Any) -> str:
    judged = champion.on(split)
    paired = judged["over_teacher"] if judged else None
    if paired is None:
        return f"The teacher has labelled no {split} report, so there is no change to state."
    return (
        f"Paired change over the teacher: micro-F1 {as_change(micro)} ({_SHOWN[direction(micro)]}), "
        f"macro-F1 {as_change(macro)} ({_SHOWN[direction(macro)]}), "
        f"on {paired['n_reports']:,} reports that both labelled."
    )


def _beats_teacher(subject: Subject, split: str) -> bool:
    return direction(subject.gain(split, "micro")) == "better"


def _alone(subject: Subject, split: str) -> str:
    change = as_change(subject.gain(split, "micro"))
    return (
        f"The labeler {subject.name}, alone, scores above the teacher that it is part of: micro-F1 {change} on {split}."
    )


def _over_linear(paired: Mapping[str, Any]) -> str:
    words: dict[Direction, str] = {
        "better": "it beats the bag of words",
        "worse": "the bag of words is better, at a fraction of the cost",
        "not shown": "a difference is not shown",
        "undefined": "no interval",
    }
    return (
        f"Paired change over the bag-of-words student (linear): micro-F1 {as_change(paired['micro'])}, "
        f"{paired['n_reports']:,} reports: {words[direction(paired['micro'])]}."
    )
