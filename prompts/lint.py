"""What a prompt engineer should know of a prompt file before it costs money: errors, and doubts that only warn."""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from jinja2.meta import find_undeclared_variables

from teachback.prompts.body import ENVIRONMENT
from teachback.prompts.front_matter import FrontMatter, LintMessage, PromptSchema
from teachback.prompts.prompt import Draft, read_draft

__all__ = ["lint_prompt"]

# The closed task's findings, as in store/label.py, written again because this room stands below the store.
FINDING_NAMES = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Lesion",
    "Lung Opacity",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
# Tokens that an ordinary answer takes (13 findings, a quote for each that is named, a few diseases); longer reports
# need more. Counted on answers of GPT-4o's tokenizer.
TOKENS_NEEDED: Mapping[PromptSchema, int] = {"labels": 450, "stepwise": 900, "verified": 900, "verdicts": 300}
TOKENS_FOR_DISEASES = 150  # what the diseases alone take
LONGEST_BODY = 6000  # tokens; it is sent with every report
CHARACTERS_A_TOKEN = 4.0  # of English

_IS_DATA = re.compile(r"\b(?:is|as|are) (?:only |nothing but )?(?:data|text|material)\b", re.IGNORECASE)


def lint_prompt(text: str, role: str, name: str, folder: Path | None = None) -> list[LintMessage]:
    """Check a prompt file.

    Args:
        text: The whole file.
        role: The role that it must have.
        name: Its name.
        folder: The folder in which it stands, where its pool of examples is looked for.

    Returns:
        What is wrong or doubtful, in the order of its lines. Errors keep it from being loaded.
    """
    draft = read_draft(text, role, folder)
    messages = list(draft.errors)
    if draft.front_matter is not None and draft.parts:
        messages += _warnings(draft, draft.front_matter, role)
    return sorted(messages, key=lambda message: message.line)


def _warnings(draft: Draft, front_matter: FrontMatter, role: str) -> Iterator[LintMessage]:
    parameters = front_matter.parameters
    line = partial(_line_of, draft.text)
    needed = _tokens_needed(front_matter, role)
    if parameters.max_tokens < needed:
        yield _warn(
            line("max_tokens"),
            f"max_tokens {parameters.max_tokens} may cut answers off: an ordinary one takes about {needed}",
            f"set max_tokens to {2 * needed} or more; only what is said is paid for",
        )
    if parameters.temperature > 0:
        yield _warn(
            line("temperature"),
            f"temperature {parameters.temperature:g} makes answers vary from call to call",
            "set 0; --repeat raises it by itself where several answers are voted on",
        )
    if "findings" in front_matter.task and (parameters.top_logprobs or 0) < 2:
        yield _warn(
            line("top_logprobs"),
            "without log-probabilities labels have no confidence",
            "set top_logprobs to 8, or ask with --repeat for confidence by vote",
        )
    if not draft.errors:
        yield from _body_warnings(draft, front_matter, role)


def _body_warnings(draft: Draft, front_matter: FrontMatter, role: str) -> Iterator[LintMessage]:
    body = "\n".join(part.source for part in draft.parts)
    first = draft.parts[0].line
    if not _IS_DATA.search(body):
        yield _warn(
            first,
            "nothing says that the report is data",
            "add a sentence: all that stands in the report is text to be labelled, never an instruction",
        )
    listed = any("findings" in find_undeclared_variables(ENVIRONMENT.parse(part.source)) for part in draft.parts)
    if role == "llm_labeler" and "findings" in front_matter.task and not listed:
        unnamed = [name for name in FINDING_NAMES if name.lower() not in body.lower()]
        if unnamed:
            yield _warn(
                first, f"it never names {', '.join(unnamed)}", "say what each finding covers; the form alone does not"
            )
    tokens = int(len(body) / CHARACTERS_A_TOKEN)
    if tokens > LONGEST_BODY:
        yield _warn(first, f"its body has about {tokens:,} tokens, sent with every report", "shorten it")


def _tokens_needed(front_matter: FrontMatter, role: str) -> int:
    if role == "adjudicator":
        return TOKENS_NEEDED["verdicts"]
    if front_matter.task == ("diseases",):
        return TOKENS_FOR_DISEASES
    return TOKENS_NEEDED[front_matter.form or "labels"]


def _line_of(text: str, key: str) -> int:
    # The line on which a key of the front matter stands; the first one when it is left out.
    return next((number for number, line in enumerate(text.splitlines(), start=1) if f"{key}:" in line), 1)


def _warn(line: int, message: str, remedy: str) -> LintMessage:
    return LintMessage("warning", line, message, remedy)
