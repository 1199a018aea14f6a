"""No text harms the rules: a hundred thousand hostile inputs, each read to the end and checked.

    python benchmarks/rule_fuzz.py [--inputs 100000] [--seed 0]

Inputs are random bytes read as text, other alphabets, pieces of reports in any order, synthetic reports cut, doubled
and with letters exchanged, one sign or phrase many times over, and what makes backtracking patterns explode. Every
mention's quote must be the text at its offsets, every status one of the four, and a finding's verdict one that its
mentions hold. The time per character of the slowest input tells whether reading stays linear.
"""

import argparse
import json
import random
import time
from collections.abc import Callable

from teachback.agents.rules import RuleEngine
from teachback.store.corpora.synthetic import generate
from teachback.store.label import FINDINGS, STATUSES

SPOKEN = """
no or and with but heart size normal enlarged effusion pneumothorax may represent versus has resolved XXXX ___ this the
lungs are clear small stable recommend findings: unlikely cannot be excluded rather than neither nor left right blunting
of costophrenic angle other than except for tube removed 1. ? : ; , . / -
"""
WORDS = [*SPOKEN.split(), "\n", "\n\n"]
ALPHABETS = (
    "абвгдежз ",
    "肺炎胸水なし。",
    "אבגד ",
    "éàüßøñ ",
    "🫁🩻 ",
    "\u200b\u202e\u0301\ufeff",
    "\x00\x07\x1b\r\t ",
)
EXPLOSIVE = (
    "(" * 50,
    "a" * 60 + "!",
    "no " * 40,
    ", or " * 30,
    "?" * 80,
    "." * 80,
    ":" * 80,
    "x" * 90,
    "_" * 90,
    "\n" * 90,
)
LONGEST = 20_000  # characters of the longest input

Kind = Callable[[random.Random, list[str]], str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    reports = [" ".join(written.report.sections.values()) for written in generate(500, seed=options.seed)]
    engine = RuleEngine()
    kinds: list[Kind] = [_bytes, _alphabet, _pieces, _broken_report, _repeated, _explosive]
    characters, slowest = 0, (0.0, "", 0)
    started = time.perf_counter()
    for number in range(options.inputs):
        kind = kinds[number % len(kinds)]
        text = kind(rng, reports)[:LONGEST]
        begun = time.perf_counter()
        _check(engine, text)
        if len(text) >= 1000:
            rate = (time.perf_counter() - begun) / len(text)
            slowest = max(slowest, (rate, kind.__name__, len(text)))
        characters += len(text)
    seconds = time.perf_counter() - started
    print(f"{options.inputs:,} inputs, {characters:,} characters, seed {options.seed}, rules {engine.ruleset.version}")
    print(f"no failure; {seconds:.0f} s, {characters / seconds / 1e6:.2f} M characters/s, inputs made and checked")
    print(f"slowest of 1,000 characters or more: {slowest[0] * 1e6:.1f} us a character ({slowest[1]}, {slowest[2]:,})")
    shown = {"benchmark": "rule_fuzz", "inputs": options.inputs, "seed": options.seed, "rules": engine.ruleset.version}
    slow = {"kind": slowest[1], "characters": slowest[2], "us_per_character": slowest[0] * 1e6}
    print(json.dumps({**shown, "failures": 0, "characters": characters, "seconds": seconds, "slowest": slow}))


def _check(engine: RuleEngine, text: str) -> None:
    """Read a text twice over and raise AssertionError, with the text, when what comes back cannot be."""
    mentions = engine.mentions("text", text)
    for mention in mentions:
        assert mention.finding in FINDINGS, repr(text)
        assert mention.status in STATUSES, repr(text)
        assert 0 <= mention.start < mention.end <= len(text), repr(text)
        assert text[mention.start : mention.end] == mention.quote, repr(text)
    verdicts = engine.label_sections([("text", text)])
    assert tuple(verdicts) == FINDINGS, repr(text)
    for finding, (status, spans) in verdicts.items():
        assert (status == "unmentioned") == (not spans), repr(text)
        assert all(text[span.start : span.end] == span.quote for span in spans), repr(text)
        told = {mention.status for mention in mentions if mention.finding == finding} - {"unmentioned"}
        assert status in (told or {"unmentioned"}), repr(text)


def _bytes(rng: random.Random, _: list[str]) -> str:
    encoding, errors = rng.choice((("utf-8", "replace"), ("latin-1", "strict"), ("utf-8", "surrogateescape")))
    return rng.randbytes(rng.randrange(400)).decode(encoding, errors)


def _alphabet(rng: random.Random, _: list[str]) -> str:
    letters = rng.choice(ALPHABETS) + rng.choice(("", "effusion ", "no "))
    return "".join(rng.choices(letters, k=rng.randrange(300)))


def _pieces(rng: random.Random, _: list[str]) -> str:
    return rng.choice((" ", " ", "")).join(rng.choices(WORDS, k=rng.randrange(200)))


def _broken_report(rng: random.Random, reports: list[str]) -> str:
    text = list(rng.choice(reports))
    for _ in range(rng.randrange(1, 30)):
        place = rng.randrange(len(text)) if text else 0
        text[place : place + rng.randrange(3)] = rng.choice(("", " ", "\n", ".", "é", "\x00", rng.choice(WORDS)))
    return "".join(text) * rng.randrange(1, 4)


def _repeated(rng: random.Random, _: list[str]) -> str:
    unit = rng.choice(WORDS) + rng.choice(("", " ", ", ", "\n", " or "))
    return unit * (rng.randrange(1, LONGEST // max(1, len(unit))) if rng.random() < 0.02 else rng.randrange(1, 60))


def _explosive(rng: random.Random, _: list[str]) -> str:
    return "".join(rng.choice(EXPLOSIVE) + rng.choice(WORDS) for _ in range(rng.randrange(1, 6)))


if __name__ == "__main__":
    main()
