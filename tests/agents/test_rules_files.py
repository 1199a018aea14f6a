"""The rule files: the phrase language, what loading checks, and the version that their content makes."""

import re
import shutil
from itertools import chain, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import teachback.agents.rules as package
from teachback.agents.rules import RuleEngine, RuleSet, packaged_engine
from teachback.agents.rules.phrases import pieces
from teachback.agents.rules.typos import Speller, one_slip
from teachback.errors import InputError
from teachback.store.label import FINDINGS


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A copy of the shipped files, to be edited."""
    shipped = Path(package.__file__).parent
    for name in ("findings.yaml", "cues.yaml"):
        shutil.copy(shipped / name, tmp_path / name)
    return tmp_path


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def test_shipped_files_hold_the_13_findings_in_order() -> None:
    assert RuleSet.load().finding_names == FINDINGS


@pytest.mark.parametrize(
    ("phrase", "sequences"),
    [
        ("pleural effusion(s)?", {"pleural effusions", "pleural effusion"}),
        ("(small|trace) Effusion", {"small effusion", "trace effusion"}),
        ("densit(y|ies)", {"density", "densities"}),
        ("(left (upper|lower))? lobe", {"lobe", "left upper lobe", "left lower lobe"}),
        ("<side> lung", {"left lung", "right lung"}),
        ("blunting ... angle", {"blunting ... angle"}),
        (
            "(un)?changed (since|from the)? film",
            {"changed film", "unchanged film", "changed since film"}
            | {"unchanged since film", "changed from the film", "unchanged from the film"},
        ),
    ],
)
def test_phrase_stands_for_its_wordings(phrase: str, sequences: set[str]) -> None:
    chosen = product(*pieces(phrase, {"side": ["left", "right"]}))
    assert {" ".join(chain.from_iterable(words)) for words in chosen} == sequences


@pytest.mark.parametrize(
    ("phrase", "why"),
    [
        ("(left lung", "does not close"),
        ("left) lung", "belongs to nothing"),
        ("<nothing> lung", "no list called <nothing>"),
        ("(left)?", "no word at all"),
        ("... lung", "begins or ends with a gap"),
        (" ".join(["(a|b|c|d|e|f|g|h)"] * 6), "more than"),
        ("(" * 60 + ")" * 60, "without end"),
    ],
)
def test_unreadable_phrase_says_why(phrase: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        pieces(phrase, {})


def test_version_is_the_content(files: Path) -> None:
    shipped = RuleSet.load().version
    assert RuleSet.load(files).version == shipped
    replace(files / "cues.yaml", "says: absent", "says: uncertain")
    assert RuleSet.load(files).version != shipped


@pytest.mark.parametrize(
    ("name", "old", "new", "named"),
    [
        (
            "findings.yaml",
            "    terms:",
            "    termz:",
            r"findings.yaml, line \d+: findings.Enlarged Cardiomediastinum.termz",
        ),
        ("findings.yaml", "finding: Cardiomegaly", "finding: Cardiomegali", "'Cardiomegali' is no finding"),
        ("findings.yaml", "  Cardiomegaly:\n", "  Edema:\n", "'Edema' stands twice"),
        (
            "findings.yaml",
            "      - cardiomegaly",
            "      - (cardiomegaly",
            r"findings.yaml, line \d+: findings.Cardiomegaly.terms.0",
        ),
        ("cues.yaml", "says: absent", "says: gone", r"cues.yaml, line \d+: rules.\d+.says"),
        ("cues.yaml", "rules:", "rules: [", "not valid YAML"),
        ("cues.yaml", "reads: forward", "reads: [forward", "not valid YAML"),
    ],
)
def test_mistake_names_file_and_key(files: Path, name: str, old: str, new: str, named: str) -> None:
    if "- cardiomegaly" in old:
        replace(files / name, "      - (mega)?cardiomegaly", "      - cardiomegaly")
    replace(files / name, old, new)
    with pytest.raises(InputError, match=named) as caught:
        RuleEngine(RuleSet.load(files))
    assert caught.value.remedy
    line = int(re.search(r"line (\d+)", str(caught.value))[1])
    lines = (files / name).read_text("utf-8").splitlines()
    assert new.strip().strip("[") in lines[line - 1] or "YAML" in named or "twice" in named


def test_missing_or_undecodable_file_is_named(files: Path) -> None:
    (files / "cues.yaml").write_bytes(b"rules: \xff")
    with pytest.raises(InputError, match=r"cues.yaml: not UTF-8 at byte 7"):
        RuleSet.load(files)
    (files / "cues.yaml").unlink()
    with pytest.raises(InputError, match=r"cues.yaml: no such file"):
        RuleSet.load(files)


def test_no_is_a_word_and_not_false(files: Path) -> None:
    replace(files / "cues.yaml", "pronouns: [none,", "pronouns: [no, yes, on, null, none,")
    assert RuleSet.load(files).cues.pronouns[:4] == ["no", "yes", "on", "null"]


def test_new_finding_needs_no_code(files: Path) -> None:
    replace(
        files / "findings.yaml", "findings:\n", "findings:\n  Hiatal Hernia:\n    terms:\n      - hiatal hernia(s)?\n\n"
    )
    engine = RuleEngine(RuleSet.load(files))
    verdicts = engine.label_sections([("text", "No effusion. Small hiatal hernia.")])
    assert verdicts["Hiatal Hernia"][0] == "present"
    assert verdicts["Pleural Effusion"][0] == "absent"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("efusion", "effusion"), ("effusoin", "effusion"), ("effussion", "effusion"), ("effuzion", "effusion")],
)
def test_one_slip_is_mended(typed: str, meant: str) -> None:
    assert Speller(["effusion"]).mend(typed) == meant


@pytest.mark.parametrize("word", ["infusion", "fusion", "effus", "diffusion", "effusively", "effusions"])
def test_other_words_stay(word: str) -> None:
    assert Speller(["effusion"], exceptions=["effusions"]).mend(word) == word


@pytest.mark.parametrize(
    "words", ["contrast injection", "Steroid injections noted", "dye was injected", "ejection fraction"]
)
def test_words_of_other_things_are_no_slips_of_findings(words: str) -> None:
    verdicts = packaged_engine().label_sections([("text", words)])
    assert {finding: status for finding, (status, _) in verdicts.items() if status != "unmentioned"} == {}


@given(st.text("abcd", min_size=8, max_size=10), st.data())
def test_speller_finds_every_single_slip_behind_the_first_letter(word: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(1, len(word) - 1))
    typed = data.draw(
        st.sampled_from(
            [
                word[:place] + word[place + 1 :],
                word[:place] + "z" + word[place:],
                word[:place] + "z" + word[place + 1 :],
                word[: place - 1] + word[place] + word[place - 1] + word[place + 1 :],
            ]
        )
    )
    if typed[0] == word[0] and typed != word:
        assert one_slip(typed, word)
        assert Speller([word]).mend(typed) == word
