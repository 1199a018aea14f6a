"""From a chest to statements: which findings share a sentence, what is denied in one list, what is said in passing."""

from collections.abc import Sequence

from teachback.store.corpora.synthetic.grammar import render, tidy
from teachback.store.corpora.synthetic.mention import LUNG, Pen, Thing
from teachback.store.corpora.synthetic.truth import Fact, Statement
from teachback.store.label import Status

__all__ = ["asides", "denials", "device_statements", "positives"]

_HEART = ("Cardiomegaly", "Enlarged Cardiomediastinum")
_SIDED = ("Pleural Effusion", "Pneumothorax")
_EXPLANATIONS = {  # what is seen, and what it may be due to
    "Lung Opacity": ("Pneumonia", "Atelectasis", "Edema", "Lung Lesion", "Consolidation"),
    "Consolidation": ("Pneumonia", "Atelectasis", "Lung Lesion"),
}
_CERTAIN = ("Pneumonia", "Atelectasis", "Edema")  # those that are also asserted in this way
_PAIRS = (  # two present findings that share a sentence: how often
    ("Pleural Effusion", "Atelectasis", 0.4),
    ("Cardiomegaly", "Edema", 0.25),
    ("Edema", "Pleural Effusion", 0.25),
    ("Fracture", "Pneumothorax", 0.25),
    ("Consolidation", "Pleural Effusion", 0.15),
    ("Lung Lesion", "Pleural Effusion", 0.15),
    ("Atelectasis", "Lung Opacity", 0.1),
)
_NEUTRAL = {"lungs": 0.5, "heart": 0.5, "bones": 0.8, "other": 0.4}  # chance of a line without status
_IN_SCENARIO = 0.4  # chance of a disease in the scenario that it belongs to
_OFTEN_LISTED = ("Consolidation", "Pleural Effusion", "Pneumothorax", "Edema", "Pneumonia", "Lung Opacity")
_VERBS = (" is ", " are ", " has ", " have ", " shows ", " reveals ", " demonstrates ", " may ", " cannot ")
_LOBES = ("right upper lobe", "left upper lobe", "right lower lobe", "left lower lobe", "right mid lung")
_BARE = {"Pleural Effusion": "effusion", "Pneumothorax": "pneumothorax"}


def positives(
    pen: Pen, findings: Sequence[str], deniable: list[str], hedged: frozenset[str] = frozenset()
) -> list[Statement]:
    """State the present and uncertain findings.

    Args:
        pen: Writes them.
        findings: Those to state, without Support Devices.
        deniable: Absent findings that a sentence may deny in passing; the denied ones are taken out.
        hedged: Present findings that are to be stated as uncertain here.
    """
    statuses: dict[str, Status] = {
        finding: "uncertain" if finding in hedged else pen.chest.statuses[finding] for finding in findings
    }
    present = [finding for finding in findings if statuses[finding] == "present"]
    uncertain = [finding for finding in findings if statuses[finding] == "uncertain"]
    said = _explained(pen, present, uncertain) + _paired(pen, present)
    lungs_only = sum(pen.chest.statuses[finding] in ("present", "uncertain") for finding in LUNG) == 1
    for finding in present:
        said.append(_one_present(pen, finding, deniable, alone=lungs_only and finding in LUNG))
    for finding in uncertain:
        said.append(_contrast(pen, pen.uncertain(finding), deniable, 0.1))
    return said


def denials(pen: Pen, findings: Sequence[str]) -> list[Statement]:
    """Deny findings: some in lists, the others one by one; the two heart findings often in one breath."""
    draw = pen.draw
    left = list(findings)
    said: list[Statement] = []
    if all(finding in left for finding in _HEART) and draw.chance(0.65):
        text = tidy(render(pen.style.choose(pen.bank.joint_silhouette, draw), draw, pen.words))
        said.append(Statement(text, tuple((finding, "absent") for finding in _HEART), (), "heart"))
        left = [finding for finding in left if finding not in _HEART]
    listed = [f for f in draw.shuffled(_OFTEN_LISTED) if f in left and not _was_there(pen, f)]
    if len(listed) > 1 and not pen.style.checklist and draw.chance(pen.style.lists):
        listed = listed[: draw.pick((2, 3, 3, 4, 5))]
        if draw.chance(0.7):  # the usual order of the trade rather than any
            listed.sort(key=_OFTEN_LISTED.index)
        said.append(pen.denial(listed))
        left = [finding for finding in left if finding not in listed]
    return said + [pen.absent(finding) for finding in left]


def device_statements(pen: Pen, *, short: bool = False) -> list[Statement]:
    """State the support devices as the chest's status demands."""
    draw, status = pen.draw, pen.chest.statuses["Support Devices"]
    rest = pen.bank.devices["rest"]
    if status == "unmentioned":
        return []
    if status == "uncertain":
        return [_device(pen, tidy(render(draw.pick(rest["uncertain"]), draw, pen.words)), "uncertain")]
    if status == "absent":
        gone = _removed(pen) if draw.chance(0.6) else render(draw.pick(rest["none"]), draw, {})
        return [_device(pen, gone, "absent")]
    pen.devices = pen.devices or _kinds(pen, draw.pick((1, 1, 2, 2, 3, 4)))
    kinds = draw.shuffled(pen.devices)[:3] if short else pen.devices
    names = {f"d{i + 1}": _named(pen, kind, "np") for i, kind in enumerate(kinds)}
    if short or draw.chance(0.2):
        several = len(kinds) > 1 and draw.chance(0.8)
        key = "short" if short and draw.chance(0.6) else "combined" if several else "general"
        fitting = [t for t in rest[key] if all(slot in names for slot in t.slots)]
        return [_device(pen, render(draw.pick(fitting), draw, names), "present")]
    said = [_device(pen, _named(pen, kind, "say"), "present") for kind in kinds]
    if draw.chance(0.07):  # one has gone, others stay: present over all
        said.append(_device(pen, _removed(pen), "absent"))
    return said


def asides(pen: Pen) -> list[Statement]:
    """Say what gives no finding a status: clear lungs, the aorta, the spine; and other diseases, some hedged."""
    draw, chest, bank = pen.draw, pen.chest, pen.bank
    said: list[Statement] = []
    if pen.lungs_clear and draw.chance(0.5):
        said.append(Statement(render(pen.style.choose(bank.lines["clear"], draw), draw, {}), (), (), "lungs"))
    taken = {"lungs"} if said else set()
    for other in bank.others:
        likely = _IN_SCENARIO if other.scenario == chest.scenario else other.rate
        if other.system in taken or not draw.chance(likely):
            continue
        hedge = bool(other.hedged) and draw.chance(0.15)
        phrase = render(draw.pick(other.hedged if hedge else other.say), draw, {**pen.words, "place": _place(pen)})
        said.append(Statement(tidy(phrase), (), () if hedge else (other.disease,), other.system))
        taken.add(other.system)
    for system, share in _NEUTRAL.items():
        if system in taken or not draw.chance(share):
            continue
        if system == "bones" and chest.statuses["Fracture"] in ("present", "uncertain"):
            continue
        phrase = render(draw.pick(bank.neutral[system]), draw, {**pen.words, "place": _place(pen)})
        said.append(Statement(tidy(phrase), (), (), system))
    return said


def _explained(pen: Pen, present: list[str], uncertain: list[str]) -> list[Statement]:
    """Join what is seen with what it is, or may be; takes the joined findings out of both lists."""
    draw = pen.draw
    said = []
    for seen in _EXPLANATIONS:
        if seen not in present:
            continue
        causes = _EXPLANATIONS[seen]
        if pen.chest.details[seen].side == "bilateral":
            causes = tuple(cause for cause in causes if cause != "Lung Lesion")
        possible = [f for f in draw.shuffled(causes) if f in uncertain][: draw.pick((1, 2, 2, 3))]
        certain = [f for f in causes if f in present and f in _CERTAIN]
        if possible and draw.chance(0.75):
            thing = pen.thing(seen, "present")
            linked = pen.frame("uncertain.linked", {"alts": pen.possibilities(possible)})
            lead = pen.frame("present.terse" if pen.terse() else "present.full", pen.slots(thing))
            more: list[Fact] = [(finding, "uncertain") for finding in possible]
            said.append(pen.statement(_join(lead, linked, thing), thing, "present", tuple(more)))
            _take(present, thing.findings)
            _take(uncertain, possible)
        elif certain and draw.chance(0.45):
            said.append(_caused(pen, seen, draw.pick(certain), present))
    return said


def _caused(pen: Pen, seen: str, cause: str, present: list[str]) -> Statement:
    """Say what an observation is due to; the cause goes by its plain name, as it lies where the observation does."""
    first = pen.thing(seen, "present")
    name = pen.draw.pick(pen.bank.findings[cause].alt)
    second = Thing(name, name, False, (cause,), pen.bank.findings[cause].np[False][0].diseases)
    _take(present, (*first.findings, cause))
    return _joint(pen, pen.frame("cause", _numbered_slots([first, second])), [first, second])


def _join(lead: str, linked: str, thing: Thing) -> str:
    """Hang a clause on a sentence: `, which may ...` needs the noun in front, a bare verb the noun itself."""
    if linked.startswith(("may", "could")):
        return f"{thing.np} {linked}"
    return f"{lead}, {linked}"


def _paired(pen: Pen, present: list[str]) -> list[Statement]:
    said = []
    trio = ("Cardiomegaly", "Edema", "Pleural Effusion")
    if all(finding in present for finding in trio) and pen.draw.chance(0.2):
        things = [pen.thing(finding, "present") for finding in trio]
        text = pen.frame("three", _numbered_slots(things))
        said.append(_joint(pen, text, things))
        _take(present, trio)
    for first, second, share in _PAIRS:
        if first in present and second in present and pen.draw.chance(share):
            said.append(_two(pen, "both", first, second, present))
    return said


def _two(pen: Pen, frame: str, first: str, second: str, present: list[str]) -> Statement:
    things = [pen.thing(first, "present"), pen.thing(second, "present")]
    _take(present, (first, second))
    return _joint(pen, pen.frame(frame, _numbered_slots(things)), things)


def _joint(pen: Pen, text: str, things: list[Thing]) -> Statement:
    more: list[Fact] = [(finding, "present") for thing in things[1:] for finding in thing.findings]
    first = pen.statement(text, things[0], "present", tuple(more))
    return Statement(text, first.facts, tuple(d for thing in things for d in thing.diseases), first.system)


def _numbered_slots(things: list[Thing]) -> dict[str, str]:
    slots: dict[str, str] = {}
    for number, thing in enumerate(things, start=1):
        slots |= {f"np{number}": thing.np, f"np0{number}": thing.bare}
    return slots


def _one_present(pen: Pen, finding: str, deniable: list[str], *, alone: bool) -> Statement:
    draw, detail = pen.draw, pen.chest.details.get(finding)
    if alone and draw.chance(0.15):
        thing = pen.thing(finding, "present")
        return pen.statement(pen.frame("except", _numbered_slots([thing])), thing, "present")
    if finding in _SIDED and detail is not None and detail.words["opp"] and draw.chance(0.12):
        thing = pen.thing(finding, "present")
        slots = {**_numbered_slots([thing]), **pen.slots(thing), "opp": detail.words["opp"], "bare": _BARE[finding]}
        said = pen.statement(pen.frame("other_side", slots), thing, "present", ((finding, "absent"),))
        return said
    return _contrast(pen, pen.present(finding), deniable, 0.16)


def _contrast(pen: Pen, said: Statement, deniable: list[str], share: float) -> Statement:
    """Deny another finding in the same sentence, at times."""
    draw = pen.draw
    fitting = [f for f in deniable if f not in _HEART and not _was_there(pen, f)]
    if not fitting or ":" in said.text or said.text.startswith(("no ", "?")) or not draw.chance(share):
        return said
    near = [f for f in fitting if _region(pen.bank.findings[f].system) == _region(said.system)]
    if not near:
        return said
    denied = draw.pick(near)
    deniable.remove(denied)
    clause = any(verb in said.text for verb in _VERBS)
    text = pen.frame(
        "contrast.full" if clause else "contrast.terse", {"say1": said.text, "neg": pen.negated_name(denied)}
    )
    return Statement(text, (*said.facts, (denied, "absent")), said.diseases, said.system)


def _region(system: str) -> str:
    return "lungs" if system == "pleura" else system


def _was_there(pen: Pen, finding: str) -> bool:
    return pen.chest.prior is not None and pen.chest.prior[finding] == "present"


def _take(findings: list[str], gone: Sequence[str]) -> None:
    findings[:] = [finding for finding in findings if finding not in gone]


def _place(pen: Pen) -> str:
    return pen.draw.pick(_LOBES)


def _kinds(pen: Pen, number: int) -> list[str]:
    weights = dict(pen.bank.device_kinds)
    if pen.chest.scenario != "postoperative":  # intensive-care devices are for the very ill
        weights |= {"ett": 1.0, "chest_tube": 1.5 if pen.chest.statuses["Pneumothorax"] != "unmentioned" else 0.4}
    kinds = []
    for _ in range(number):
        kind = pen.draw.weighted(weights)
        del weights[kind]
        kinds.append(kind)
    return kinds


def _removed(pen: Pen) -> str:
    gone = [kind for kind in pen.bank.device_kinds if pen.bank.devices[kind]["gone"] and kind not in pen.devices]
    return _named(pen, pen.draw.pick(gone), "gone")


def _named(pen: Pen, kind: str, wording: str) -> str:
    """Return words for a device, on the same side throughout the report."""
    side = pen.device_sides.setdefault(kind, pen.draw.pick(("right", "left")))
    return render(pen.style.choose(pen.bank.devices[kind][wording], pen.draw), pen.draw, {"dside": side})


def _device(pen: Pen, text: str, status: Status) -> Statement:
    return Statement(tidy(text), (("Support Devices", status),), (), "devices")
