"""The rule files: what they may hold, how they are read and checked, and the version that their content makes.

`findings.yaml` says what is looked for, `cues.yaml` what decides its status. Both are made to be edited by a
radiologist: phrases in the language of `phrases.py`, no code. A mistake names the file and the key.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from teachback.errors import InputError
from teachback.prompts.yaml_text import UniqueKeys, line_of

__all__ = ["ENGINE_VERSION", "CueRule", "CuesFile", "Finding", "FindingsFile", "Measured", "RuleSet"]

# Raised by hand when the engine reads the same files differently.
ENGINE_VERSION = 3
FINDINGS_FILE = "findings.yaml"
CUES_FILE = "cues.yaml"
# Longest rule file read, in bytes; the two shipped ones are about 30 kB together.
MAX_FILE_BYTES = 2_000_000

Says = Literal["present", "absent", "uncertain", "ignored"]
Reads = Literal["forward", "backward", "both"]
Reach = Literal["next", "list", "rest"]


class _Strict(BaseModel):
    """A part of a rule file: no unknown keys, nothing changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Finding(_Strict):
    """One finding and the words for it."""

    terms: list[str] = Field(default_factory=list)
    """Phrases that name it; present unless a cue says otherwise."""
    uncertain_terms: list[str] = Field(default_factory=list)
    """Phrases that only hint at it; uncertain unless a cue says otherwise."""
    absent_terms: list[str] = Field(default_factory=list)
    """Phrases that deny it by themselves, such as `extubated`."""


class Measured(_Strict):
    """A finding told as the state of an organ: `the heart is mildly enlarged`."""

    finding: str
    subjects: list[str] = Field(min_length=1)
    """The organ, in its wordings."""
    present: list[str] = Field(default_factory=list)
    """States that mean the finding is there."""
    uncertain: list[str] = Field(default_factory=list)
    """States that leave it open."""
    absent: list[str] = Field(default_factory=list)
    """States that mean it is not."""
    unchanged: list[str] = Field(default_factory=list)
    """States that tell only of a comparison: uncertain, and weaker than any other word in the report."""


class FindingsFile(_Strict):
    """`findings.yaml`."""

    lists: dict[str, list[str]] = Field(default_factory=dict)
    """Phrases used by name, as `<name>`."""
    findings: dict[str, Finding] = Field(min_length=1)
    """The findings, in the order in which they are reported."""
    measured: list[Measured] = Field(default_factory=list)
    """Findings told as an organ's state."""
    causes: list[str] = Field(default_factory=list)
    """Findings that explain what is seen: `x/cause` asks which of the two it is, `scarring/atelectasis` says both."""
    other_subjects: list[str] = Field(default_factory=list)
    """Organs that no finding is measured on: they begin a statement and keep states to themselves."""
    traps: list[str] = Field(default_factory=list)
    """Phrases that hold a finding's word and mean something else."""
    not_typos: list[str] = Field(default_factory=list)
    """Real words that differ by one letter from a finding's word."""


class CueRule(_Strict):
    """One group of cues that decide in the same way."""

    name: str = Field(min_length=1)
    says: Says
    """The status given to what it reaches; `ignored` takes the mention out."""
    reads: Reads
    """Where what it decides on stands: after it (`forward`), before it, or on both sides."""
    reach: Reach = "list"
    """`next`: the nearest mention. `list`: all that is joined to it. `rest`: all to the end of the sentence."""
    needs_list_word: bool = False
    """Whether a comma ends the reach unless an `or` follows."""
    unless_term_behind: bool = False
    """Whether it decides only where no finding is named after it ("except for a trace amount");
    its phrases end every other reach."""
    answers_sentence_before: bool = False
    """Whether it may decide on the sentence before ("This has resolved.")."""
    phrases: list[str] = Field(min_length=1)


class CuesFile(_Strict):
    """`cues.yaml`. The order of the rules is their rank: the first that reaches a mention decides."""

    rules: list[CueRule] = Field(min_length=1)
    fillers: list[str] = Field(default_factory=list)
    """Phrases that hold a cue's word and decide nothing ("no change in")."""
    ends: list[str] = Field(default_factory=list)
    """Words that end every reach ("but")."""
    weak_ends: list[str] = Field(default_factory=list)
    """Words that end every reach but `rest` ("with")."""
    openers: list[str] = Field(default_factory=list)
    """Words that begin a statement ("there is")."""
    degrees: list[str] = Field(default_factory=list)
    """Words that say how much there is of something, so that it is there ("small", "stable")."""
    copulas: list[str] = Field(default_factory=list)
    """Verbs that, right behind a mention in a list, give it a statement of its own ("and the line is in place")."""
    sides: list[str] = Field(default_factory=list)
    """Words that, put before a mention, begin a statement where nothing joins it ("no effusion left opacity")."""
    verbs: list[str] = Field(default_factory=list)
    """Finite verbs: a cue behind one reaches back to it and no further."""
    pronouns: list[str] = Field(default_factory=list)
    """First words of a sentence that speak of the sentence before."""
    unread_headings: list[str] = Field(default_factory=list)
    """Headings whose text is not about this image, to the next heading."""
    read_headings: list[str] = Field(default_factory=list)
    """Headings that end such a stretch."""


FileT = TypeVar("FileT", bound=_Strict)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The loaded rule files.

    Attributes:
        findings: What is looked for.
        cues: What decides.
        version: Content hash of both files and the engine's version: the labeler's version.
        sources: File name to the place it was read from and its text.
    """

    findings: FindingsFile
    cues: CuesFile
    version: str
    sources: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def load(cls, directory: Path | None = None) -> "RuleSet":
        """Read and check the rule files of a directory, or those of the package.

        Raises:
            InputError: A file is missing or not what it should be; names the file and the key.
        """
        names = (FINDINGS_FILE, CUES_FILE)
        texts = {name: _read(directory, name) for name in names}
        digest = hashlib.blake2b(str(ENGINE_VERSION).encode(), digest_size=8)
        for name in names:
            digest.update(hashlib.blake2b(texts[name].encode()).digest())
        sources = {name: (_place(directory, name), texts[name]) for name in names}
        findings = _parsed(FindingsFile, *sources[FINDINGS_FILE])
        cues = _parsed(CuesFile, *sources[CUES_FILE])
        for key, named in (("measured", [m.finding for m in findings.measured]), ("causes", findings.causes)):
            unknown = [name for name in named if name not in findings.findings]
            if unknown:
                raise InputError(
                    f"{_place(directory, FINDINGS_FILE)}, line {line_of(texts[FINDINGS_FILE], (key,), unknown[0])}: "
                    f"{key}: {unknown[0]!r} is no finding of this file",
                    "use a name that stands under `findings:`",
                )
        return cls(findings, cues, digest.hexdigest(), sources)

    def where(self, name: str, *path: str | int) -> str:
        """Say where a part of a file stands: the file, the line and the key.

        Args:
            name: `findings.yaml` or `cues.yaml`.
            path: Keys and places in lists that lead to it, as `("findings", "Edema", "terms", 3)`.
        """
        place, text = self.sources.get(name, (name, ""))
        return f"{place}, line {line_of(text, path)}: {'.'.join(map(str, path))}"

    @property
    def finding_names(self) -> tuple[str, ...]:
        """The findings, in the file's order."""
        return tuple(self.findings.findings)


def _place(directory: Path | None, name: str) -> str:
    return f"teachback/agents/rules/{name}" if directory is None else str(directory / name)


def _read(directory: Path | None, name: str) -> str:
    if directory is None:
        return (resources.files("teachback.agents.rules") / name).read_text("utf-8")
    path = directory / name
    if not path.is_file():
        raise InputError(f"{path}: no such file", f"a rule directory holds {FINDINGS_FILE} and {CUES_FILE}")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"{path}: larger than {MAX_FILE_BYTES} bytes", "is this a rule file?")
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}", "save the file as UTF-8") from None


def _parsed(model: type[FileT], place: str, text: str) -> FileT:
    try:
        return model.model_validate(yaml.load(text, _PlainLoader))
    except yaml.YAMLError as error:
        raise InputError(f"{place}: not valid YAML: {error}", "check indentation, colons and quotes there") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(
            f"{place}, line {line_of(text, first['loc'])}: {key}: {first['msg']}", "compare with the shipped file"
        ) from None


# Written in C where PyYAML was built with it: a tenth of the time, and whoever labels waits for it.
_Loader = yaml.CBaseLoader if yaml.__with_libyaml__ else yaml.BaseLoader


class _PlainLoader(UniqueKeys, _Loader):  # type: ignore[misc,valid-type]
    """YAML in which every value is text, so that `no` is a word."""
