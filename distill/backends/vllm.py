"""vLLM, in an environment of its own: exact log-probabilities of the asked tokens, the report's keys and values shared.

    TEACHBACK_BACKEND=vllm TEACHBACK_VLLM_PYTHON=vllm-env/bin/python teachback distill ...

starts `python -m teachback.distill.backends.vllm` there; vLLM pins other versions of torch and transformers than
training does. Each question is a prompt of one new token with `logprob_token_ids`: probabilities over the whole
vocabulary, before any sampling parameter. `prompt_logprobs` would do too, but skips the prefix cache, and with it what
the questions on a report share.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from teachback.distill.backends.protocol import LogProbabilities, Opening, SlotRequest, Unavailable, serve_stdio

__all__ = ["VllmEngine", "open_vllm"]

REMEDY = (
    "python -m venv vllm-env && vllm-env/bin/pip install vllm && vllm-env/bin/pip install --no-deps teachback, then "
    "set TEACHBACK_VLLM_PYTHON=vllm-env/bin/python; or use TEACHBACK_BACKEND=transformers"
)


class VllmEngine:
    """A student in vLLM.

    Args:
        opening: Which student.
    """

    def __init__(self, opening: Opening) -> None:
        vllm = import_module("vllm")  # by name: type checks run where there is none
        self.version = f"vllm {vllm.__version__}"
        self._params = vllm.SamplingParams
        options: dict[str, Any] = {}
        self._lora = None
        if opening.adapter is not None:
            options = {"enable_lora": True, "max_lora_rank": _lora_rank(opening.rank)}
            self._lora = import_module("vllm.lora.request").LoRARequest("student", 1, opening.adapter)
        if opening.quantize:
            options["quantization"] = "bitsandbytes"
        self._llm = vllm.LLM(
            model=opening.student,
            dtype=opening.dtype,
            max_model_len=opening.max_length,
            max_logprobs=64,
            enable_prefix_caching=True,
            seed=0,
            **options,
        )

    def answer(self, requests: Sequence[SlotRequest]) -> list[LogProbabilities]:
        """Return for each request, per question, the log-probabilities of its tokens."""
        asked = [(request, question) for request in requests for question in request.questions]
        outputs = self._llm.generate(
            [{"prompt_token_ids": [*request.prefix, *question]} for request, question in asked],
            [
                self._params(max_tokens=1, temperature=0.0, logprob_token_ids=list(request.tokens), detokenize=False)
                for request, _ in asked
            ],
            lora_request=self._lora,
            use_tqdm=False,
        )
        found = iter(
            [output.outputs[0].logprobs[0][token].logprob for token in request.tokens]
            for (request, _), output in zip(asked, outputs, strict=True)
        )
        return [[next(found) for _ in request.questions] for request in requests]


def open_vllm(opening: Opening) -> VllmEngine:
    """Load a student.

    Raises:
        Unavailable: vLLM is not installed in this environment.
    """
    try:
        import_module("vllm")
    except ImportError as error:
        raise Unavailable(f"vLLM cannot be imported here: {error}", REMEDY) from error
    return VllmEngine(opening)


def _lora_rank(rank: int) -> int:
    """Return the room that vLLM must set aside for an adapter; it knows powers of two from 8 on."""
    return max(8, 1 << (rank - 1).bit_length())


if __name__ == "__main__":
    serve_stdio(open_vllm)
