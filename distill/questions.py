"""What the student is asked, token by token, the same in training and in scoring.

A prompt file gives the conversation; the tokenizer's chat template writes it. The prefix that all questions on a
report share is found on the token ids themselves, so a branch behind it is exactly the prompt that a server would get.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from teachback.distill.tree import Branch, TreeRow, plant
from teachback.errors import SettingError, TrainingError
from teachback.store.label import FINDINGS, STATUSES

__all__ = ["DISEASES", "DISEASES_JSON", "VERIFY", "Questions", "Target", "format_diseases", "parse_diseases"]

DISEASES, DISEASES_JSON = "diseases", "diseases as JSON"  # the two forms of the open-ended question
VERIFY = "verify: "  # in front of a disease, names the question whether the report states it
NO_DISEASES = "none"
# What a prompt asks that has no part of its own for these questions.
JSON_QUESTION = (
    " Which diseases with an ICD-10-CM code does the report assert? Answer in JSON, for each its name, its icd10 code "
    "and as evidence the words of the report."
)
VERIFY_QUESTION = " Is {disease} present in this report? Answer yes or no."
_MARK, _PHRASE_MARK = "\u241e", "\u241f"  # signs that no report and no template holds
_ICD10 = re.compile(r"(.+?)\s+([A-Z]\d[0-9A-Z](?:\s?\.\s?[0-9A-Z]{1,4})?)", flags=re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Target:
    """What a branch should answer, and how much it counts.

    Attributes:
        answer: The answer.
        weight: What each of its tokens counts in the loss.
        shares: Answer to share, where several are right in part; the weights of their branches follow these.
    """

    answer: str
    weight: float
    shares: tuple[tuple[str, float], ...] = ()

    def parts(self) -> tuple[tuple[str, float], ...]:
        """Return each answer with its weight: cross entropy with the shares is the sum over their answers."""
        return tuple((answer, self.weight * share) for answer, share in self.shares or ((self.answer, 1.0),))


class Questions:
    """Turns a report's text into the tree of questions that the student answers.

    Args:
        tokenizer: A Hugging Face tokenizer with a chat template.
        system: The system message; empty for none.
        user: The user message up to the question, with `{report}` in it.
        finding: The question on one finding, with `{finding}` in it.
        diseases: The question on the diseases.
        max_length: The longest row in tokens; a longer report loses words from its middle, never its answer.
        diseases_json: The same question, to be answered in JSON.
        verify: The question whether the report states a disease, with `{disease}` in it.

    Raises:
        SettingError: The statuses, or yes and no, do not start with distinct tokens in this tokenizer.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        system: str,
        user: str,
        finding: str,
        diseases: str,
        max_length: int = 1024,
        diseases_json: str = JSON_QUESTION,
        verify: str = VERIFY_QUESTION,
    ) -> None:
        self.tokenizer = tokenizer
        self.system, self.user, self.finding, self.diseases = system, user, finding, diseases
        self.diseases_json, self.verify = diseases_json, verify
        self.max_length = max_length
        self.cut_reports = self.cut_tokens = 0  # reports that were too long, and what they lost
        self.long_lists = 0  # lists that were left out
        self.end = _end_of_turn(self)
        self._before, self._between, self._tails = self._split_template()
        asked = self.render(_MARK, _PHRASE_MARK).split(_MARK)[1][len(self._between) :]
        self._around_phrase = asked.split(_PHRASE_MARK)
        self.status_tokens = tuple(self.encode_answer(status)[0] for status in STATUSES)
        self.yes_no_tokens = self.encode_answer("yes")[0], self.encode_answer("no")[0]
        for what, tokens in ((f"statuses {STATUSES}", self.status_tokens), ("answers yes and no", self.yes_no_tokens)):
            if len(set(tokens)) != len(tokens):
                raise SettingError(
                    f"the {what} do not start with distinct tokens in this tokenizer",
                    "use a tokenizer of the Llama 3 family, or one that `teachback init-student` made",
                )

    def row(self, text: str, targets: Mapping[str, Target] | None = None) -> TreeRow:
        """Build the row of one report.

        Args:
            text: The report's text in the scope that its labels were made from.
            targets: Question (a finding, or `diseases`) to what it should answer; questions without one are left
                out. None asks all 13 findings without answers, for scoring.
        """
        asked = list(FINDINGS) if targets is None else list(targets)
        branches = []
        for question in asked:
            if targets is None:
                branches.append(Branch(self.tail(question)))
                continue
            for answer, weight in targets[question].parts():
                branches.append(Branch(self.tail(question), self.encode_answer(answer), weight))
        room = self.max_length - sum(len(b.question) + len(b.answer) for b in branches)
        return plant(self.prefix(text, room), branches)

    def rows(self, text: str, targets: Mapping[str, Target]) -> list[TreeRow]:
        """Build the rows of a report: one, or the list in JSON apart where the whole report leaves no room for all.

        A list longer than half a row could never be written (`predict.write_diseases`): it is left out and counted.
        """
        listing = {question: target for question, target in targets.items() if question == DISEASES_JSON}
        others = {question: target for question, target in targets.items() if question not in listing}
        if any(len(self.encode_answer(target.answer)) > self.max_length // 2 for target in listing.values()):
            self.long_lists += 1
            return [self.row(text, others)] if others else []
        if not listing or not others:
            return [self.row(text, targets)]
        wanted = [self.tail(question) + self.encode_answer(target.answer) for question, target in targets.items()]
        whole = len(self._encode(self._before + text + self._between)) + sum(map(len, wanted))
        if whole <= self.max_length:
            return [self.row(text, targets)]
        return [self.row(text, others), self.row(text, listing)]

    def prefix(self, text: str, room: int | None = None) -> list[int]:
        """Return the token ids that all questions on a report share, cut to `room` tokens.

        Raises:
            TrainingError: Not even an empty report fits.
        """
        text = text.replace("<|", "< |")  # a report cannot write the template's marks
        room = self.max_length if room is None else room
        ids = self._encode(self._before + text + self._between)
        whole = len(ids)
        while len(ids) > room:
            if not text:
                raise TrainingError(
                    f"max_length {self.max_length} leaves no room for a report beside its questions and answers",
                    "raise train.max_length in the preset",
                )
            text = self._cut(text, len(ids) - room).replace("<|", "< |")
            ids = self._encode(self._before + text + self._between)
        self.cut_reports += whole > room
        self.cut_tokens += whole - len(ids)
        return ids

    def tail(self, question: str) -> tuple[int, ...]:
        """Return the question's token ids, from behind the shared prefix to where the answer starts."""
        if question not in self._tails and question.startswith(VERIFY):
            return self._tail_of(self.verify.format(disease=question.removeprefix(VERIFY)))
        return self._tails[question]

    def seen(self, text: str) -> str:
        """Return a text as the student reads and can write it: a tokenizer may fold case or signs."""
        return str(self.tokenizer.decode(self._encode(text), skip_special_tokens=True))

    def ask(self, phrase: str) -> tuple[int, ...]:
        """Return the token ids of the question on any phrase, as a finding's question would be put."""
        return tuple(self._encode(phrase.join(self._around_phrase)))

    def encode_answer(self, answer: str) -> tuple[int, ...]:
        """Return an answer's token ids with the end of the turn."""
        return (*self._encode(answer), self.end)

    def messages(self, report: str, question: str) -> list[dict[str, str]]:
        """Return the conversation as chat messages, for a server or a plain prompt."""
        if question.startswith(VERIFY):
            asked = self.verify.format(disease=question.removeprefix(VERIFY))
        else:
            open_ended = {DISEASES: self.diseases, DISEASES_JSON: self.diseases_json}
            asked = open_ended.get(question) or self.finding.format(finding=question)
        return self._messages(report, asked)

    def _messages(self, report: str, asked: str) -> list[dict[str, str]]:
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": self.user.format(report=report) + asked}]

    def render(self, report: str, question: str) -> str:
        """Return the prompt as text, up to where the answer starts."""
        return self._render(self.messages(report, question))

    def _render(self, messages: list[dict[str, str]]) -> str:
        kwargs = {"tokenize": False, "add_generation_prompt": True}
        # Llama 3.1's template writes today's date unless told: training and inference must not differ by the day.
        return str(self.tokenizer.apply_chat_template(messages, date_string="26 Jul 2024", **kwargs))

    def _tail_of(self, asked: str) -> tuple[int, ...]:
        """Return the token ids of a question of any words behind the shared prefix."""
        after = self._render(self._messages(_MARK, asked)).split(_MARK)[1]
        if not after.startswith(self._between):
            raise SettingError("the prompt's questions do not start alike", "let each start with white space")
        return tuple(self._encode(after[len(self._between) :]))

    def _split_template(self) -> tuple[str, str, dict[str, tuple[int, ...]]]:
        """Split the template's text into what stands before the report, what all questions share, and the questions.

        The shared part ends before white space: there every BPE of the Llama family starts a new token, so encoding
        the parts one by one gives the ids of the whole.
        """
        asked = (DISEASES, DISEASES_JSON, *FINDINGS)
        rendered = {question: self.render(_MARK, question).split(_MARK) for question in asked}
        before = rendered[DISEASES][0]
        after = [parts[1] for parts in rendered.values()]
        length = 0
        while len({text[: length + 1] for text in after}) == 1:
            length += 1
        while length and not after[0][length].isspace():
            length -= 1
        shared = after[0][:length]
        tails = {question: tuple(self._encode(parts[1][len(shared) :])) for question, parts in rendered.items()}
        return before, shared, tails

    def _cut(self, text: str, excess: int) -> str:
        """Take about `excess` tokens of words out of a text's middle: findings stand first, impressions last."""
        words = text.split(" ")
        if len(words) == 1:  # no spaces at all: characters instead
            middle = max(0, len(text) - excess) // 2
            return text[:middle] + text[middle + excess :]
        while excess > 0 and len(words) > 1:
            middle = len(words) // 2
            excess -= len(self._encode(" " + words.pop(middle)))
        return " ".join(words)

    def _encode(self, text: str) -> list[int]:
        # The backend of a fast tokenizer, ten times quicker than the wrapper; slow ones have none.
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            return list(self.tokenizer.encode(text, add_special_tokens=False))
        return list(backend.encode(text, add_special_tokens=False).ids)


def format_diseases(diseases: Sequence[tuple[str, str | None]]) -> str:
    """Write a disease list as the student should answer it: `pleural effusion J90; rib fracture S22.39XA`."""
    unique = sorted({(name, code or "") for name, code in diseases})
    return "; ".join(f"{name} {code}".strip() for name, code in unique) or NO_DISEASES


def parse_diseases(answer: str) -> list[tuple[str, str | None]]:
    """Read a disease list back; what is no ICD-10-CM code at an item's end belongs to its name."""
    parsed: list[tuple[str, str | None]] = []
    for item in answer.split(";"):
        words = item.strip()
        if not words or words.lower() == NO_DISEASES:
            continue
        match = _ICD10.fullmatch(words)
        parsed.append((match[1].strip(), match[2].replace(" ", "").upper()) if match else (words, None))
    return parsed


def _end_of_turn(questions: Questions) -> int:
    """Return the token with which the chat template ends an assistant's turn."""
    tokenizer = questions.tokenizer
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": _MARK}]
    closing = tokenizer.apply_chat_template(turns, tokenize=False, date_string="26 Jul 2024").split(_MARK)[-1]
    ids = tokenizer.encode(closing.strip(), add_special_tokens=False)
    return int(ids[0]) if ids else int(tokenizer.eos_token_id)
