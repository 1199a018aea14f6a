"""One more try after an answer that cannot be used: the model is shown what was wrong with it."""

from dataclasses import replace

from teachback.agents.calls import Answer, ChatRequest
from teachback.errors import TeacherReplyError

__all__ = ["repair_request"]

LONGEST_SHOWN = 12_000  # characters of the first answer that are shown again
ROOM = 2  # how many times longer the second answer may be, after a first one that was cut off


def repair_request(request: ChatRequest, answer: Answer, reason: str) -> ChatRequest | None:
    """Return the request that asks once more, or None where asking again cannot help.

    A refusal stays a refusal. An answer that was cut off is asked for again with more room, one that says nothing as it
    was; any other is shown to the model with what is wrong with it.

    Args:
        request: What was asked.
        answer: What came back.
        reason: Why it cannot be used.
    """
    choice = answer.completion.choice
    if choice and (choice.message.refusal or choice.finish_reason == "content_filter"):
        return None
    if choice and choice.finish_reason == "length":
        return replace(request, max_tokens=ROOM * request.max_tokens)
    try:
        said = answer.text()
    except TeacherReplyError:
        return request
    shown = {"role": "assistant", "content": said[:LONGEST_SHOWN]}
    asked = {
        "role": "user",
        "content": f"That answer cannot be used: {reason}\n\nAnswer the question above once more: the whole form, with "
        "every field filled in, following its JSON schema, and nothing besides.",
    }
    return replace(request, messages=(*request.messages, shown, asked))
