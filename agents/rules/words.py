"""Sentences and words of a section, each with its place in the text, in one pass and in linear time.

Reports bend the rules of punctuation: wrapped lines, bullets, headings in the middle of a line, "1.5 cm", "vs.". Only
what these need is treated; a text without any punctuation is cut every `MAX_WORDS` words, so that no text is slow.
"""

import re
from collections.abc import Iterator
from string import ascii_lowercase

__all__ = ["MASK", "MAX_WORDS", "Words", "first_form", "sentences"]

MASK = "xxxx"
# What a question mark before a word is read as.
ASKED = "query"
# What a word too long to be one is read as: no phrase can hold it.
OVERLONG = "\0"
# Longest stretch read as one sentence, in words; real sentences stay under 80.
MAX_WORDS = 200
# Longest word looked up, in characters; anything longer is no word.
MAX_WORD_LENGTH = 40
# Spellings whose forms are remembered at most.
MAX_FORMS = 65_536
# A line this short, in characters, ends a statement even without a full stop: wrapped lines run to 70 and more.
SHORT_LINE = 50

_PLAIN = r"[^\W_]+(?:['\u2019][^\W_]+)?|__+|[,;:?()/]|(?<=\s)-(?=\s)"
_WORD = re.compile(rf"(?:[wcsrhb]/[opwl])(?![^\W_])|w/|{_PLAIN}", re.IGNORECASE)
# The same where there is no slash, in less than half the time.
_PLAIN_WORD = re.compile(_PLAIN)
# A dash between blanks does a colon's work.
_SIGNS = {"-": ":"}
# A line that ends in one of these goes on in the next, however short it is.
_UNFINISHED = frozenset(
    {"a", "an", "and", "any", "are", "at", "by", "for", "from", "in"}
    | {"is", "no", "of", "on", "or", "the", "to", "with", "without"}
)
_MASK = re.compile(r"x{3,}|__+")
_ABBREVIATIONS = frozenset({"vs", "dr", "mr", "mrs", "ms", "approx", "e.g", "i.e", "eg", "ie", "cf"})
_ABBREVIATED = frozenset(word[-2:] for word in _ABBREVIATIONS)  # what stands before such a word's full stop
_PLAIN_ENDS = frozenset(ascii_lowercase) - {word[-1] for word in _ABBREVIATIONS}
# Places where a sentence may end: one sign and a look around it, so the search is linear.
_BREAK = re.compile(r"""[.!?;\n](?:(?<=[;\n])|(?=[\s"')\].!?A-Z]|$))""")
_HEADING = re.compile(r"\b[A-Z][A-Za-z]{3,15}(?: [A-Za-z]{2,12}){0,3}:")
LONGEST_HEADING = 16 + 3 * 13  # characters before its colon
_BULLETS = "-*\u2022("  # what a bullet begins with, if not with a digit
_BULLET = re.compile(r"\s*(?:[-*\u2022]|\(?\d{1,2}[.)](?!\d))\s*")


class Words:
    """The words and signs of a sentence; hyphens separate, dashes become colons, masks become `MASK`.

    Args:
        sentence: The sentence.

    Attributes:
        forms: Their lower-case forms, in order.
    """

    __slots__ = ("_sentence", "_spellings", "_starts", "forms")

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence
        self._starts: list[int] | None = None
        pattern = _WORD if "/" in sentence else _PLAIN_WORD
        self._spellings: list[str] = pattern.findall(sentence)
        self.forms = [_FORMS[spelled] for spelled in self._spellings]
        if "?" in sentence:
            self.forms = [
                ASKED if form == "?" and _asks_ahead(sentence, start) else form
                for form, start in zip(self.forms, self.starts, strict=True)
            ]

    @property
    def starts(self) -> list[int]:
        """Where each begins in the sentence; looked for only once somebody asks."""
        if self._starts is None:
            self._starts = self._located()
        return self._starts

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Return where a stretch of words begins and ends, given its first word and the one behind its last."""
        starts = self.starts
        return starts[first], starts[last - 1] + len(self._spellings[last - 1])

    def quote(self, first: int, last: int) -> str:
        """Return a stretch of words as it stands in the sentence; arguments as of `span`."""
        start, end = self.span(first, last)
        return self._sentence[start:end]

    def within(self, start: int, end: int) -> list[int]:
        """Return the words of which a part stands between two offsets."""
        return [
            place
            for place, (begin, spelled) in enumerate(zip(self.starts, self._spellings, strict=True))
            if begin < end and begin + len(spelled) > start
        ]

    def _located(self) -> list[int]:
        sentence = self._sentence
        # What lies between two words begins none, so a word is where its letters come next. A dash may be a hyphen.
        if "/" in sentence or "-" in self._spellings:
            return [match.start() for match in _WORD.finditer(sentence)]
        starts, place = [], 0
        for spelled in self._spellings:
            place = sentence.find(spelled, place)
            starts.append(place)
            place += len(spelled)
        return starts


def first_form(sentence: str) -> str:
    """Return the form of a sentence's first word or sign; nothing where none begins within a word's longest length."""
    first = _WORD.search(sentence, 0, MAX_WORD_LENGTH)
    return _FORMS[first[0]] if first else ""


class _Forms(dict[str, str]):
    """The form of each word as it was spelled; what was looked up is remembered."""

    def __missing__(self, spelled: str) -> str:
        if len(self) >= MAX_FORMS:
            self.clear()
        form = _SIGNS.get(spelled) or spelled.lower()
        if len(form) > MAX_WORD_LENGTH:
            form = OVERLONG
        form = MASK if _MASK.fullmatch(form) else form.replace("\u2019", "'")
        self[spelled] = form
        return form


_FORMS = _Forms()


def _asks_ahead(sentence: str, place: int) -> bool:
    """Whether a question mark is put to the word behind it: "opacity, ?atelectasis"."""
    before, behind = sentence[max(0, place - 1) : place], sentence[place + 1 : place + 2]
    return not before.isalnum() and (behind.isalnum() or (behind.isspace() and (not before or before.isspace())))


def sentences(text: str) -> list[tuple[int, int]]:
    """Return the (start, end) of each sentence of a section, without surrounding blanks or bullets."""
    found: list[tuple[int, int]] = []
    start = 0
    for place in [*_breaks(text), len(text)]:
        first, last = _trimmed(text, start, place)
        if last - first > MAX_WORDS:
            found += _stretches(text, first, last)
        elif first < last:
            found.append((first, last))
        start = place
    return found


def _breaks(text: str) -> list[int]:
    """Return every place where one sentence ends and the next begins."""
    punctuated = "." in text
    ends = []
    for match in _BREAK.finditer(text):
        end = match.end()
        # Nearly every full stop is one: no abbreviation ends so.
        if (match[0] == "." and text[end - 2 : end - 1] in _PLAIN_ENDS) or _ends_sentence(text, end - 1, punctuated):
            ends.append(end)
    return sorted({*ends, *_headings(text)}) if ":" in text else ends


def _headings(text: str) -> Iterator[int]:
    """Yield where each heading within a line begins."""
    colon = text.find(":")
    behind = 0
    while colon >= 0:
        # Looked for from its colon backwards: there are few, and many words with a capital.
        heading = _HEADING.search(text, max(behind, colon - LONGEST_HEADING), colon + 1)
        if heading:
            yield heading.start()
        behind, colon = colon + 1, text.find(":", colon + 1)


def _ends_sentence(text: str, place: int, punctuated: bool) -> bool:
    sign = text[place]
    if sign == ".":
        last = text[max(0, place - 2) : place]
        if last.lower() not in _ABBREVIATED and not last[-1:].isspace():
            return True
        before = text[max(0, place - 8) : place].split()
        return not before or before[-1].lower().lstrip("(") not in _ABBREVIATIONS
    if sign == "\n":
        return _ends_line(text, place, punctuated)
    # A question mark may stand before what is asked: "opacity ? pneumonia".
    return sign != "?" or text[max(0, place - 1) : place] not in ("", " ", "\n", "\t")


def _ends_line(text: str, newline: int, punctuated: bool) -> bool:
    """Whether a line break ends a statement: a blank line, a bullet, or a line too short to have been wrapped.

    Where the text has full stops, a line that goes on in lower case was wrapped all the same.
    """
    following = text[newline + 1 : newline + 12]
    if not following.strip() or following[0] == "\n" or _BULLET.match(following):
        return True
    line = text[max(0, newline - SHORT_LINE - 1) : newline].rpartition("\n")
    if len(line[2]) > SHORT_LINE or (punctuated and following.lstrip()[0].islower()):
        return False
    last = line[2].split()
    return not last or last[-1].lower() not in _UNFINISHED


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Return where a sentence begins and ends without blanks around it and a bullet in front."""
    while start < end and text[start].isspace():
        start += 1
    if start < end and (text[start] in _BULLETS or text[start].isdigit()):
        bullet = _BULLET.match(text, start, end)
        start = bullet.end() if bullet else start
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _stretches(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield a sentence cut into stretches of at most `MAX_WORDS` words."""
    for count, match in enumerate(_WORD.finditer(text, start, end), start=1):
        if count % MAX_WORDS == 0:
            yield start, match.end()
            start = match.end()
    if start < end:
        yield start, end
