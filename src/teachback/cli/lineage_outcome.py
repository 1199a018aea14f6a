"""Lineage as it is printed: sections with quotes and costs, for a person to read from the top."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from teachback.store.lineage import AdapterLineage, Impact

__all__ = ["print_adapter", "print_impact", "print_label"]

MOST_LINES = 12  # of a prompt or an answer
MOST_CHARACTERS = 1_200  # of one; --json gives it whole
MOST_ROWS = 15  # of a kind that can be thousands
SECTIONS = ("indication", "comparison", "findings", "impression", "text")

Record = Mapping[str, Any]


def print_label(console: "Console", label: Record) -> None:
    """Print where a label comes from."""
    _title(console, f"{label['target']}: {label['status']}", f"said by {label['labeler']}{_sureness(label)}")
    where = [label["report_id"], label["corpus"], label["split"] and f"split {label['split']}"]
    _line(console, f"{label['label_id']}, {label['scope']} scope, {_moment(label['created_at'])}")
    _line(console, "report " + ", ".join(str(part) for part in where if part))
    if label["icd10"]:
        _line(console, f"ICD-10-CM {label['icd10']}{' (' + label['icd10_check'] + ')' if label['icd10_check'] else ''}")
    if not label["current"]:
        _line(console, "no longer what its labeler says: see below")
    _print_evidence(console, label)
    _section(console, "Report")
    for section in SECTIONS:
        if label[section]:
            _line(console, f"{section}: {label[section]}")
    _print_call(console, label)
    _print_adjudications(console, label)
    _print_later(console, label)
    _section(console, "Run")
    if label["run_id"]:
        _line(console, f"{label['run_id']}, `{label['command']}`, {_moment(label['run_started_at'])}")
    else:
        _line(console, "none: it was not written by a run")
    if label["round_id"]:
        _line(console, f"round {label['round_id']}, adapter {label['adapter_hash'] or 'none'}")


def print_adapter(console: "Console", made: "AdapterLineage") -> None:
    """Print what made an adapter."""
    for number, round_ in enumerate(made.rounds):
        name = round_["adapter_hash"] or round_["round_id"]
        if number:
            console.print()
        _title(console, f"Adapter {name}", f"round {round_['round']}, {round_['arm']}")
        _line(console, f"{round_['round_id']} of {round_['campaign_id']}, {_moment(round_['created_at'])}")
        if round_["adapter_path"]:
            _line(console, f"path {round_['adapter_path']}")
        _line(console, f"base {round_['base']}, seed {round_['seed']}")
        if round_["decision"]:
            _line(console, round_["decision"])
    _section(console, "Trained on")
    for row in made.sources:
        least, most = row["least_weight"], row["most_weight"]
        weight = f"{least:.3g}" if least == most else f"{least:.3g} to {most:.3g}"
        _line(
            console,
            f"{row['labels']:,} {row['source']} labels by {row['labeler']} on {row['reports']:,} reports: "
            f"{row['reason']}; weight {weight}, {row['weight_sum']:,.0f} in all",
        )
    _section(console, "Calls that gave those labels")
    for row in made.calls:
        tokens = f"{row['prompt_tokens'] or 0:,} + {row['completion_tokens'] or 0:,} tokens"
        _line(
            console,
            f"{row['calls']:,} calls of {row['model']}, prompt {row['prompt']} ({row['prompt_id']}): {tokens}, "
            f"{_dollars(row['cost_usd'])}",
        )
    if not made.calls:
        _line(console, "none")
    _section(console, "Reports")
    for row in made.corpora:
        subjects = f" of {row['subjects']:,} subjects" if row["subjects"] else ""
        _line(console, f"{row['corpus']}: {row['reports']:,} reports{subjects}")
    name = made.rounds[0]["adapter_hash"] or made.rounds[0]["round_id"]
    query = f"SELECT * FROM adapter_lineage('{name}')"
    _section(console, "Every row")
    console.print(f'  teachback sql STORE "{query}" --csv', markup=False, soft_wrap=True)


def print_impact(console: "Console", impact: "Impact") -> None:
    """Print what became of a label."""
    label = impact.label
    _title(console, f"{label['target']}: {label['status']}", f"said by {label['labeler']}{_sureness(label)}")
    _line(console, f"{label['label_id']} of report {label['report_id']}")
    _section(console, "Verdicts that weighed it and came out the same")
    for row in impact.verdicts:
        _line(console, f"{row['label_id']}: {row['status']}, {row['reason']}")
    if not impact.verdicts:
        _line(console, "none")
    _section(console, "Adapters trained on it")
    for row in impact.adapters:
        if row["direct"]:
            weight = f"weight {row['weight']:.3g}, {row['reason']}"
            _line(console, f"{_student(row)}: {weight}{_standing(row)}")
    if not any(row["direct"] for row in impact.adapters):
        _line(console, "none")
    _section(console, "Adapters that it reached through pseudo-labels")
    onward = [row for row in impact.adapters if not row["direct"]]
    for row in onward:
        _line(console, f"{_student(row)}{_standing(row)}")
    if not onward:
        _line(console, "none but those above" if impact.adapters else "none")
    _print_pseudo(console, impact.pseudo_labels)


def _print_pseudo(console: "Console", rows: Sequence[Record]) -> None:
    _section(console, "Pseudo-labels that those adapters gave")
    counts = Counter((row["round_id"], row["used_in"], row["selected"]) for row in rows)
    students = {row["round_id"]: _student(row) for row in rows}
    for maker, user in dict.fromkeys((maker, user) for maker, user, _ in counts):
        taken, refused = counts[maker, user, True], counts[maker, user, False]
        _line(console, f"{students[maker]}: {taken:,} trained on in {user}, {refused:,} refused there")
    if not rows:
        _line(console, "none")
    targets = Counter(row["target"] for row in rows if row["selected"])
    if targets:
        _line(console, "of " + ", ".join(f"{target} {n:,}" for target, n in targets.most_common(MOST_ROWS)))


def _print_evidence(console: "Console", label: Record) -> None:
    _section(console, "Evidence")
    for span in label["evidence"] or ():
        place = f"{span['start']}-{span['end']}" if span["start"] >= 0 else "NOT IN THE REPORT"
        cue = f"; cue: {span['cue']}" if span["cue"] else ""
        _line(console, f'{span["section"]} {place}: "{span["quote"]}"{cue}')
    if not label["evidence"]:
        _line(console, "none given")


def _print_call(console: "Console", label: Record) -> None:
    if label["prompt_id"]:
        _section(console, f"Prompt {label['prompt']} ({label['prompt_id']})")
        _long(console, label["prompt_text"] or "")
    if label["llm_call_id"]:
        _section(console, f"Answer of {label['model']} ({label['llm_call_id']})")
        _long(console, _said(label["raw_answer"] or ""))
        cost = f"{label['prompt_tokens'] or 0:,} + {label['completion_tokens'] or 0:,} tokens"
        extra = f", {label['attempts']} attempts" if (label["attempts"] or 1) > 1 else ""
        batch = f", batch {label['batch_id']}" if label["batch_id"] else ""
        _line(console, f"{cost}, {_dollars(label['cost_usd'])} for the whole call{extra}{batch}", style="dim")


def _print_adjudications(console: "Console", label: Record) -> None:
    for entry in label["adjudications"] or ():
        verb = "decided it" if entry["part"] == "decided" else "weighed it"
        _section(console, f"Adjudication: {entry['adjudicator']} {verb}")
        _line(console, f"{entry['verdict']}, {_dollars(entry['cost_usd'])} for its call")
        if entry["rationale"]:
            _line(console, f"why: {entry['rationale']}")
        for vote in entry["votes"] or ():
            sure = "" if vote["confidence"] is None else f" ({100 * vote['confidence']:.0f} %)"
            quote = f', "{vote["quote"]}"' if vote["quote"] else ""
            target = "" if vote["target"] == label["target"] else f" of {vote['target']}"
            _line(console, f"{vote['labeler']}: {vote['status']}{target}{sure}{quote} ({vote['label_id']})")


def _print_later(console: "Console", label: Record) -> None:
    _section(console, "What stands in its place")
    hows = {"labeler": "said later", "adjudication": "decided on it", "curated": "is curated"}
    for entry in label["superseded_by"] or ():
        agrees = "the same" if entry["agrees"] else "not the same"
        number = f" ({entry['label_id']})" if entry["label_id"] else ""
        _line(console, f"{entry['labeler']}: {entry['status']}, {agrees}; {hows[entry['how']]}{number}")
    if not label["superseded_by"]:
        _line(console, "nothing")
    if label["reviews"]:
        _section(console, "Reviews")
    for entry in label["reviews"] or ():
        undone = ", taken back since" if entry["undone"] else ""
        note = f": {entry['note']}" if entry["note"] else ""
        _line(console, f"{entry['reviewer']} {entry['part']}, {_moment(entry['at'])}{undone}{note}")


def _said(answer: str) -> str:
    """Return what the model said; an answer of another form stays as it came."""
    try:
        content = json.loads(answer)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        return answer
    return content if isinstance(content, str) else answer


def _student(row: Record) -> str:
    return f"round {row['round']} {row['arm']}, {row['adapter_hash'] or row['round_id']}"


def _standing(row: Record) -> str:
    return {None: "", True: "; promoted", False: "; not promoted"}[row["promoted"]]


def _sureness(label: Record) -> str:
    if label["confidence"] is None:
        return f", no confidence: {label['confidence_note']}" if label["confidence_note"] else ""
    return f", {100 * label['confidence']:.0f} % sure ({label['confidence_source']})"


def _dollars(amount: float | None) -> str:
    return "price unknown" if amount is None else f"${amount:.4f}"


def _moment(at: Any) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"


def _title(console: "Console", name: str, rest: str) -> None:
    from rich.text import Text

    console.print(Text.assemble((_clean(name), "bold"), ", ", _clean(rest)))


def _section(console: "Console", name: str) -> None:
    from rich.text import Text

    console.print()
    console.print(Text(_clean(name), "bold"))


def _line(console: "Console", text: str, *, style: str = "") -> None:
    from rich.padding import Padding
    from rich.text import Text

    console.print(Padding(Text(_clean(text), style, overflow="fold"), (0, 0, 0, 2)))


def _long(console: "Console", text: str) -> None:
    shown = text[:MOST_CHARACTERS].strip().splitlines()[:MOST_LINES]
    for line in shown:
        _line(console, line)
    if len("\n".join(shown)) < len(text.strip()):
        _line(console, f"(of {len(text):,} characters; --json gives them all)", style="dim")


def _clean(text: str) -> str:
    # What reports and models say may hold control characters, which a terminal would obey.
    return "".join(character if character.isprintable() else " " for character in text)
