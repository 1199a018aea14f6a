"""From the lines that a batch returned to the calls that the store keeps, at half the price."""

from collections.abc import AsyncIterator, Mapping

from msgspec import structs
from openai.types import Batch

from teachback.agents.batch.ledger import HandedIn
from teachback.agents.batch.lines import LineOutcome, Matcher
from teachback.agents.calls import ChatRequest, JsonForm, LLMCall, clip
from teachback.agents.prices import PriceList
from teachback.agents.records import Attempted, record_answer, record_failure
from teachback.agents.responses import read_response
from teachback.agents.settings import LLMSettings
from teachback.errors import TeacherError

__all__ = ["calls_of", "ended_ms", "rejection"]

PRICE = 0.5  # of a single call's; OpenAI's Batch guide
NO_LINE = "the batch ended without a line on this request"
NO_FORM = JsonForm("none", {})  # a request that is only recorded needs no form
REMEDIES = {
    "token_limit_exceeded": "wait until other batches of this account are done, or hand in fewer with --limit",
    "model_not_found": "check the model's name; not every model takes batches",
    "billing_hard_limit_reached": "the account has no credit left: add some, then run the same command again",
}


async def calls_of(
    batch_id: str,
    handed: Mapping[str, HandedIn],
    matcher: Matcher,
    lines: AsyncIterator[bytes],
    latency_ms: float,
    settings: LLMSettings,
    prices: PriceList,
) -> AsyncIterator[tuple[LLMCall, TeacherError | None]]:
    """Turn lines into calls; a request without a line becomes a failed call.

    Args:
        batch_id: The batch.
        handed: Its requests, by `custom_id`.
        matcher: Sorts the lines.
        lines: Its output file, then its error file.
        latency_ms: How long it took.
        settings: The endpoint.
        prices: What single calls cost.

    Yields:
        A call, and the error where it shows that no request can succeed.
    """

    def call_of(outcome: LineOutcome) -> LLMCall:
        request = handed[outcome.custom_id]
        asked = ChatRequest(
            (), NO_FORM, request.agent, request.report_id, prompt_id=request.prompt_id, sample=request.sample
        )
        attempted = Attempted(asked, request.llm_call_id, request.earlier + 1, latency_ms, request.errors)
        if outcome.error is not None:
            failed = record_failure(attempted, settings.model, outcome.error)
            return structs.replace(failed, response=outcome.response, batch_id=batch_id)
        raw = (outcome.response or "").encode("utf-8", "surrogatepass")
        response = read_response(raw, lambda answer: None, request.llm_call_id, request.report_id)
        call = record_answer(attempted, response, settings, prices)
        cost = None if call.cost_usd is None else call.cost_usd * PRICE
        return structs.replace(call, cost_usd=cost, batch_id=batch_id)

    async for line in lines:
        outcome = matcher.take(line)
        if outcome is not None:
            yield call_of(outcome), _hopeless(outcome, settings)
    for custom_id in matcher.missing():
        yield call_of(LineOutcome(custom_id, None, error=NO_LINE)), None


def ended_ms(batch: Batch) -> float:
    """Return how many milliseconds a batch took, as far as the endpoint says."""
    ended = batch.completed_at or batch.expired_at or batch.cancelled_at or batch.created_at
    return max(0.0, (ended - batch.created_at) * 1000.0)


def rejection(batch: Batch, settings: LLMSettings) -> TeacherError:
    """Say, in the endpoint's own words, why it refused a whole input file."""
    problems = (batch.errors.data if batch.errors else None) or []
    if not problems:
        return TeacherError(f"{settings.host} refused batch {batch.id} without a reason", "leave out --batch")
    first = problems[0]
    place = f" (line {first.line})" if first.line else ""
    more = f", and {len(problems) - 1} more problems" if len(problems) > 1 else ""
    said = f"{first.code or 'no code'}: {clip(first.message or 'no message')}{place}{more}"
    remedy = REMEDIES.get(first.code or "", "mend what it names, or leave out --batch; nothing was answered or billed")
    return TeacherError(f"{settings.host} refused batch {batch.id}: {said}", remedy)


def _hopeless(outcome: LineOutcome, settings: LLMSettings) -> TeacherError | None:
    if not outcome.hopeless:
        return None
    return TeacherError(
        f"{settings.host} answered a batch's request with {outcome.error}",
        f"check OPENAI_API_KEY, the account's credit and the model's name ({settings.model})",
    )
