"""What each section of one report says: the findings, and the part of them that the impression repeats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from teachback.store.corpora.synthetic.grammar import Draw, render, tidy
from teachback.store.corpora.synthetic.mention import Pen
from teachback.store.corpora.synthetic.narrate import asides, denials, device_statements, positives
from teachback.store.corpora.synthetic.patient import Chest, age_of, sex_of
from teachback.store.corpora.synthetic.style import Style
from teachback.store.corpora.synthetic.truth import Statement
from teachback.store.label import FINDINGS

__all__ = ["Composition", "compose", "write_comparison", "write_indication"]

# Chance that the impression repeats a positive, and a denied, finding. In MIMIC-CXR about half of what the findings
# section says does not reach the impression.
_REPEATED: Mapping[str, float] = {
    "Pneumothorax": 0.92, "Pneumonia": 0.92, "Lung Lesion": 0.85, "Edema": 0.8, "Consolidation": 0.75,
    "Fracture": 0.65, "Pleural Effusion": 0.6, "Lung Opacity": 0.5, "Atelectasis": 0.42, "Cardiomegaly": 0.35,
    "Enlarged Cardiomediastinum": 0.4, "Pleural Other": 0.25, "Support Devices": 0.2,
}  # fmt: skip
_REPEATED_ABSENT: Mapping[str, float] = {
    "Pneumonia": 0.45, "Pneumothorax": 0.16, "Edema": 0.14, "Pleural Effusion": 0.07, "Consolidation": 0.1,
    "Fracture": 0.12,
}  # fmt: skip
_CHRONIC = frozenset(("Cardiomegaly", "Atelectasis", "Enlarged Cardiomediastinum", "Pleural Other", "Support Devices"))
_DEBATABLE = frozenset(_REPEATED) - _CHRONIC - {"Fracture"} | {"Atelectasis"}  # what one may doubt on the same film
_SURER_LATER = 0.08  # present findings hedged in the findings section and asserted in the impression
_HEDGED_LATER = 0.04  # the reverse
_ONLY_THERE = 0.05  # positives of the impression that the findings section leaves out
_KEPT_ALONE = 0.6  # share of denials kept where the impression is all there is


@dataclass(frozen=True, slots=True)
class Composition:
    """Statements of each section that there is."""

    findings: tuple[Statement, ...] = ()
    impression: tuple[Statement, ...] = ()


def compose(chest: Chest, style: Style, draw: Draw) -> Composition:
    """Decide what each section says."""
    pen = Pen(chest, style, draw)
    positive = [f for f in FINDINGS if chest.statuses[f] in ("present", "uncertain")]
    absent = [f for f in FINDINGS if chest.statuses[f] == "absent"]
    if style.form == "impression":
        kept = [finding for finding in absent if draw.chance(_KEPT_ALONE)]
        return Composition(impression=_impression(pen, positive, kept, frozenset(), alone=True))
    if style.form == "findings":
        return Composition(findings=_findings(pen, positive, absent, frozenset()))
    repeated = [finding for finding in positive if draw.chance(_REPEATED[finding])]
    if set(positive) <= _CHRONIC and draw.chance(0.5):
        repeated = []  # nothing acute: the impression says just that
    elif positive and not set(repeated) - {"Support Devices"}:
        repeated.append(max(positive, key=lambda finding: _REPEATED[finding]))
    denied = [finding for finding in absent if draw.chance(_REPEATED_ABSENT.get(finding, 0.02))]
    present = [f for f in repeated if chest.statuses[f] == "present" and f in _DEBATABLE]
    hedged_first = frozenset(finding for finding in present if draw.chance(_SURER_LATER))
    hedged_later = frozenset(f for f in present if f not in hedged_first and draw.chance(_HEDGED_LATER))
    held_back = {f for f in repeated if f not in hedged_first | hedged_later and draw.chance(_ONLY_THERE)}
    held_back |= {f for f in denied if f == "Pneumonia" and draw.chance(0.6)}
    return Composition(
        findings=_findings(
            pen, [f for f in positive if f not in held_back], [f for f in absent if f not in held_back], hedged_first
        ),
        impression=_impression(pen, repeated, denied, hedged_later, alone=False),
    )


def write_indication(chest: Chest, style: Style, draw: Draw) -> str:
    """Write why the film was taken; it may name findings and states none."""
    lines = Pen(chest, style, draw).bank.lines

    def one(kind: str) -> str:
        return render(draw.pick(lines[f"indication.{kind}"]), draw, {})

    age = style.mask if style.mask in ("___", "XXXX") else str(age_of(chest.subject))
    sex = {"M": ("man", "male", "M"), "F": ("woman", "female", "F")}[sex_of(chest.subject)]
    who = draw.pick((f"{age}-year-old {draw.pick(sex)} with ", f"{age} year old {draw.pick(sex)}, ", "", ""))
    why = one("complaint") + (f", {one('history')}" if draw.chance(0.4) else "")
    ask = draw.pick((". ", ", ", " // ")) + one("question") if draw.chance(0.55) else ""
    text = f"{who}{why}{ask}"
    text = text[0].upper() + text[1:] + ("" if text[-1] in ".?" else ".")
    return text.upper() if style.capitals else text


def write_comparison(chest: Chest, style: Style, draw: Draw) -> str:
    """Write what the film is compared with; it states no finding."""
    lines = Pen(chest, style, draw).bank.lines["comparison.prior" if chest.prior is not None else "comparison.none"]
    text = tidy(render(draw.pick(lines), draw, {"prior_date": style.mask}))
    text = text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")
    return text.upper() if style.capitals else text


def _findings(
    pen: Pen, positive: Sequence[str], absent: Sequence[str], hedged: frozenset[str]
) -> tuple[Statement, ...]:
    deniable = [finding for finding in absent if finding != "Support Devices"]
    said = device_statements(pen) if "Support Devices" in (*positive, *absent) else []
    said += positives(pen, [f for f in positive if f != "Support Devices"], deniable, hedged)
    said += denials(pen, deniable)
    said += asides(pen)
    if not said:
        said.append(_plain(pen, "clear"))
    return tuple(said)


def _impression(
    pen: Pen, positive: Sequence[str], absent: Sequence[str], hedged: frozenset[str], *, alone: bool
) -> tuple[Statement, ...]:
    draw = pen.draw
    deniable = [finding for finding in absent if finding != "Support Devices"]
    named = draw.shuffled([finding for finding in positive if finding != "Support Devices"])
    said = positives(pen, named, deniable, hedged)
    ill = any(s in ("present", "uncertain") for f, s in pen.chest.statuses.items() if f not in _CHRONIC)
    if "Support Devices" in positive or "Support Devices" in absent:
        said += device_statements(pen, short=True)
    if not named and not ill:
        healthy = not any(s in ("present", "uncertain") for s in pen.chest.statuses.values())
        said.insert(0, _plain(pen, "normal_impression" if healthy else "chronic_impression"))
    elif not ill and draw.chance(0.5):
        said.append(_plain(pen, "chronic_impression"))
    said += denials(pen, deniable)
    if alone and draw.chance(0.4):
        said += asides(pen)[:2]
    if ill and draw.chance(0.2):
        said.append(_plain(pen, "advice"))
    if not said:
        said.append(_plain(pen, "advice") if ill else _plain(pen, "chronic_impression"))
    return tuple(said)


def _plain(pen: Pen, kind: str) -> Statement:
    draw = pen.draw
    time = f"{1 + int(draw.random() * 12)}:{10 + int(draw.random() * 50)} {draw.pick(('am', 'pm'))}"
    phrase = render(pen.style.choose(pen.bank.lines[kind], draw), draw, {**pen.words, "time": time})
    return Statement(tidy(phrase), (), (), "other")
