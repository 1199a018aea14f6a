"""The phrase bank: the YAML files in `phrases/`, compiled once a process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from teachback.store.corpora.synthetic.grammar import Template, compile_template
from teachback.store.corpora.synthetic.truth import Disease
from teachback.store.label import FINDINGS, Status

__all__ = ["SYSTEMS", "Bank", "FindingPhrases", "OtherDisease", "PastedReport", "Phrase", "load_bank"]

SYSTEMS: tuple[str, ...] = ("devices", "lungs", "pleura", "heart", "bones", "other")

_PHRASES = Path(__file__).parent / "phrases"
_LINES = ("clear", "normal_impression", "chronic_impression", "advice")
_FINDING_FILES = ("lungs", "pleura", "heart", "bones")


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase and what it asserts.

    Attributes:
        template: The words.
        diseases: The diseases it asserts where it stands as a present finding.
        extras: Further findings that share its status.
        clear: Whether it may stand only where no lung finding is present or uncertain.
    """

    template: Template
    diseases: tuple[Disease, ...]
    extras: tuple[str, ...]
    clear: bool = False


@dataclass(frozen=True, slots=True)
class FindingPhrases:
    """How one finding is worded. Lists keyed by `bilateral` hold what fits both sides or one side.

    Attributes:
        system: Its place in the reading order.
        places: Which words locate it: `lobe`, `base`, `side`, `rib` or `none`.
        sides: Weight of right, left and bilateral.
        severity: Words of the levels slight, moderate, marked.
        adverb: The same as adverbs, such as `mildly`.
        np: Noun phrases that assert it, for one side (False) and both (True).
        say: Status to whole sentences, for one side and both.
        share: Status to the share of whole sentences among all wordings.
        alt: Names of it as one of several possibilities.
        neg: Names of it in a denial.
        resolved: Names of it in a resolution.
    """

    system: str
    places: str
    sides: Mapping[str, float]
    severity: Sequence[Sequence[str]]
    adverb: Sequence[Sequence[str]]
    np: Mapping[bool, tuple[Phrase, ...]]
    say: Mapping[Status, Mapping[bool, tuple[Phrase, ...]]]
    share: Mapping[Status, float]
    alt: tuple[str, ...]
    neg: tuple[str, ...]
    resolved: tuple[Template, ...]


@dataclass(frozen=True, slots=True)
class OtherDisease:
    """A disease outside the 13 findings: where it is said, how often, in which scenario more often, and how."""

    disease: Disease
    system: str
    rate: float
    scenario: str
    say: tuple[Template, ...]
    hedged: tuple[Template, ...]


@dataclass(frozen=True, slots=True)
class PastedReport:
    """A normal report used word for word: the text of its sections, and what each denies."""

    sections: Mapping[str, str]
    absent: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Bank:
    """All phrases.

    Attributes:
        findings: Finding to its phrases, without Support Devices.
        joint_silhouette: Sentences that deny both heart findings.
        frames: Name such as `present.full` to sentence frames.
        devices: Device kind to `weight`, `say`, `np` and `gone`, and under `rest` the sentences about several.
        device_kinds: Weight of each kind.
        lines: Name such as `clear` or `advice` to sentences without status.
        neutral: System to sentences without status.
        others: Diseases outside the findings.
        pasted: Normal reports used word for word.
    """

    findings: Mapping[str, FindingPhrases]
    joint_silhouette: tuple[Template, ...]
    frames: Mapping[str, tuple[Template, ...]]
    devices: Mapping[str, Mapping[str, tuple[Template, ...]]]
    device_kinds: Mapping[str, float]
    lines: Mapping[str, tuple[Template, ...]]
    neutral: Mapping[str, tuple[Template, ...]]
    others: tuple[OtherDisease, ...]
    pasted: tuple[PastedReport, ...]


@lru_cache(maxsize=1)
def load_bank() -> Bank:
    """Read and compile the bank."""
    discourse = _read("discourse")
    devices = _read("devices")
    sources: dict[str, Any] = {}
    for name in _FINDING_FILES:
        sources |= _read(name)
    joint = _templates(sources.pop("joint_silhouette"))
    kinds = devices.pop("kinds")
    return Bank(
        findings={name: _finding(name, sources[name], discourse) for name in FINDINGS if name in sources},
        joint_silhouette=joint,
        frames=dict(_flat("", _read("frames"))),
        devices={
            **{kind: {key: _templates(entry[key]) for key in ("say", "np", "gone")} for kind, entry in kinds.items()},
            "rest": {key: _templates(phrases) for key, phrases in devices.items()},
        },
        device_kinds={kind: float(entry["weight"]) for kind, entry in kinds.items()},
        lines={
            **{key: _templates(discourse[key]) for key in _LINES},
            **dict(_flat("indication.", discourse["indication"])),
            **dict(_flat("comparison.", discourse["comparison"])),
        },
        neutral={
            system: _templates(phrase for where, phrase in discourse["neutral"] if where == system)
            for system in SYSTEMS
        },
        others=tuple(_other(name, entry) for name, entry in discourse["disease"].items()),
        pasted=tuple(
            PastedReport({name: entry[name] for name in ("findings", "impression")}, entry["absent"])
            for entry in discourse["normal_template"]
        ),
    )


def _read(name: str) -> dict[str, Any]:
    with (_PHRASES / f"{name}.yaml").open(encoding="utf-8") as file:
        content: dict[str, Any] = yaml.safe_load(file)
    return content


def _templates(phrases: Any) -> tuple[Template, ...]:
    return tuple(compile_template(phrase) for phrase in phrases)


def _flat(prefix: str, tree: Mapping[str, Any]) -> list[tuple[str, tuple[Template, ...]]]:
    rows = []
    for key, value in tree.items():
        if isinstance(value, dict):
            rows += _flat(f"{prefix}{key}.", value)
        else:
            rows.append((f"{prefix}{key}", _templates(value)))
    return rows


def _finding(finding: str, entry: Mapping[str, Any], discourse: Mapping[str, Any]) -> FindingPhrases:
    def by_side(phrases: Sequence[str]) -> dict[bool, tuple[Phrase, ...]]:
        return {
            both: tuple(
                _phrase(finding, source, discourse)
                for source in phrases
                if not source.startswith("U|" if both else "B|")
            )
            for both in (False, True)
        }

    statuses: tuple[Status, ...] = ("present", "absent", "uncertain")
    severity = entry["severity"]
    return FindingPhrases(
        system=entry["system"],
        places=entry["places"],
        sides=entry["sides"],
        severity=severity,
        adverb=entry.get("adverb", [["slightly", "mildly"], ["moderately"], ["severely", "markedly"]]),
        np=by_side(entry["np"]),
        say={status: by_side(entry.get(f"say_{status}", [])) for status in statuses},
        share=entry["share"],
        alt=tuple(entry["alt"]),
        neg=tuple(entry["neg"]),
        resolved=_templates(entry["resolved"]),
    )


def _phrase(finding: str, source: str, discourse: Mapping[str, Any]) -> Phrase:
    template = compile_template(source[2:] if source[1] == "|" else source)
    named, _, extras = (part.strip() for part in template.note.partition("&"))
    own = discourse["own"].get(finding, "-")
    names = [name.strip() for name in (named or own).split("+")]
    return Phrase(
        template,
        tuple(Disease(name, discourse["codes"][name]) for name in names if name != "-"),
        (extras,) if extras else (),
        source.startswith("C|"),
    )


def _other(name: str, entry: Mapping[str, Any]) -> OtherDisease:
    return OtherDisease(
        Disease(name, entry["icd10"]),
        entry["system"],
        entry["rate"],
        entry.get("scenario", ""),
        _templates(entry["say"]),
        _templates(entry["hedged"]),
    )
