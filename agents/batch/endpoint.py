"""An endpoint's Files and Batches API, through the OpenAI SDK.

What may be repeated without harm is repeated; creating a batch is not, for a batch that was created although no answer
came would be paid twice.
"""

from collections.abc import AsyncIterator, Collection

import httpx2
import openai
from openai.types import Batch

from teachback.agents.failures import classify
from teachback.agents.settings import LLMSettings
from teachback.errors import TeacherError

__all__ = ["MARK", "BatchEndpoint", "explain", "was_refused"]

MARK = "teachback_batch"  # under this name a batch's metadata holds its name in the store
TRANSFER_TIMEOUT_S = 1800.0  # 200 MB over 1 Mbit/s
PAGE = 100  # entries of a listing, the most that OpenAI gives at once
CLOCK_SLACK_S = 3600  # how far the endpoint's clock may be off
UNCERTAIN_STATUSES = frozenset({408, 409})  # and every 5xx: the batch may have been created all the same


class BatchEndpoint:
    """Hands files and batches to one endpoint.

    Args:
        sdk: The SDK's client.
        settings: The endpoint.
    """

    def __init__(self, sdk: openai.AsyncOpenAI, settings: LLMSettings) -> None:
        self._once = sdk.with_options(max_retries=0)
        self._repeated = sdk.with_options(max_retries=settings.max_attempts - 1)
        self._patient = httpx2.Timeout(TRANSFER_TIMEOUT_S, connect=settings.connect_timeout_s)
        self._settings = settings

    async def upload(self, name: str, content: bytes) -> str:
        """Upload an input file and return its id.

        Raises:
            openai.APIError: It was not taken; nothing is asked yet.
        """
        file = (f"{name}.jsonl", content, "application/jsonl")
        uploaded = await self._repeated.files.create(file=file, purpose="batch", timeout=self._patient)
        return uploaded.id

    async def create(self, file_id: str, mark: str) -> str:
        """Create a batch, once, and return its id.

        Args:
            file_id: Its input file.
            mark: What it is found by where its id does not arrive.

        Raises:
            openai.APIError: No id arrived; `was_refused` says whether there may be a batch all the same.
        """
        created = await self._once.batches.create(
            input_file_id=file_id, endpoint="/v1/chat/completions", completion_window="24h", metadata={MARK: mark}
        )
        return created.id

    async def retrieve(self, endpoint_batch_id: str) -> Batch | None:
        """Return a batch as it stands; None when the endpoint does not know it.

        Raises:
            TeacherError: The endpoint cannot be asked.
        """
        try:
            return await self._repeated.batches.retrieve(endpoint_batch_id)
        except openai.NotFoundError:
            return None
        except openai.APIError as error:
            raise explain(error, self._settings) from None

    async def find(self, marks: Collection[str], since: float) -> dict[str, str]:
        """Look for batches by their marks.

        Args:
            marks: The marks to look for.
            since: When the oldest of them may have been created, in Unix seconds.

        Returns:
            Mark to batch id, of those that are there.

        Raises:
            TeacherError: The endpoint cannot be asked.
        """
        found: dict[str, str] = {}
        try:
            async for batch in self._repeated.batches.list(limit=PAGE):
                mark = (batch.metadata or {}).get(MARK)
                if mark in marks:
                    found[str(mark)] = batch.id
                if len(found) == len(marks) or batch.created_at < since - CLOCK_SLACK_S:
                    break
        except openai.APIError as error:
            raise explain(error, self._settings) from None
        return found

    async def lines(self, file_id: str) -> AsyncIterator[bytes]:
        """Read a file line by line, without holding it in memory.

        Lines end at line feeds alone: a report may hold other characters that count as line ends elsewhere.

        Raises:
            FileNotFoundError: The endpoint does not know the file.
            TeacherError: The file cannot be read to its end.
        """
        rest = b""
        try:
            opened = self._repeated.files.with_streaming_response.content(file_id, timeout=self._patient)
            async with opened as response:
                async for chunk in response.iter_bytes():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        yield line
        except openai.NotFoundError:
            raise FileNotFoundError(file_id) from None
        except openai.APIError as error:
            raise explain(error, self._settings) from None
        except httpx2.HTTPError as error:
            raise TeacherError(
                f"the download of {file_id} from {self._settings.host} broke off ({error})",
                "run the same command again: what had arrived is stored",
            ) from None
        if rest:
            yield rest


def explain(error: openai.APIError, settings: LLMSettings) -> TeacherError:
    """Say what a failure of the Files or Batches API means to the user."""
    if isinstance(error, openai.APIStatusError) and error.status_code in (404, 405, 501):
        return TeacherError(
            f"{settings.base_url} has no Batch API", "leave out --batch: this endpoint takes single calls"
        )
    failure = classify(error, settings)
    return TeacherError(failure.message, failure.remedy or "run the same command again: nothing is handed in twice")


def was_refused(error: openai.APIError) -> bool:
    """Whether a batch was certainly not created."""
    if not isinstance(error, openai.APIStatusError):
        return False
    return error.status_code < 500 and error.status_code not in UNCERTAIN_STATUSES
