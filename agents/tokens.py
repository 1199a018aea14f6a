"""How many tokens a text has, before it is sent: counted where a tokenizer can be had, else estimated, and said so.

`rs-bpe` carries OpenAI's vocabularies in its wheel, so it counts without a network (`pip install teachback[tokens]`);
tiktoken would first have to fetch them. Models of others have tokenizers of their own: for them o200k_base is an
estimate too, mostly within a tenth for English.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from teachback.agents.calls import ChatRequest

__all__ = ["TokenCounter", "token_counter"]

CHARACTERS_A_TOKEN = 4.2  # o200k_base: 4.2 on the shipped prompts, 4.5 on 500 Open-i reports
TOKENS_A_MESSAGE = 4  # role and delimiters around each message, as OpenAI's chat format adds them
LONG_TEXT = 3_000  # characters from which a text's count is remembered
TOKENS_A_REPLY = 3  # what primes the answer


@dataclass(frozen=True)
class TokenCounter:
    """Counts tokens.

    Attributes:
        how: How it counts, for people.
    """

    how: str
    _encoding: Any = None

    def count(self, text: str) -> int:
        """Return the number of tokens of a text."""
        if self._encoding is None:
            return round(len(text) / CHARACTERS_A_TOKEN)
        return int(self._encoding.count(text))

    def count_request(self, request: ChatRequest) -> int:
        """Return the number of prompt tokens of a request: messages, what stands around them, and the form."""
        said = sum(_counted(self, message["content"]) for message in request.messages)
        around = TOKENS_A_MESSAGE * len(request.messages) + TOKENS_A_REPLY
        return said + around + _counted(self, request.form.response_format)


def token_counter() -> TokenCounter:
    """Return the best counter that is installed."""
    try:
        from rs_bpe import openai
    except ImportError:
        return TokenCounter(f"estimated at {CHARACTERS_A_TOKEN} characters a token: pip install teachback[tokens]")
    return TokenCounter("o200k_base", openai.o200k_base())


@cache
def _counted_once(counter: TokenCounter, text: str) -> int:
    return counter.count(text)


def _counted(counter: TokenCounter, text: str) -> int:
    # Instructions and forms are the same in every request and longer than most reports: they are counted once.
    return _counted_once(counter, text) if len(text) > LONG_TEXT else counter.count(text)
