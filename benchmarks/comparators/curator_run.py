"""bespokelabs-curator on prepared questions; run by `teacher_graph.py` in an environment of its own.

    python curator_run.py questions.jsonl http://127.0.0.1:8000/v1 --concurrency 200

Its last line is one JSON object: when the call returned, how many answers are valid, its CPU and peak memory, and how
long the same call takes again with everything in its cache.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

PER_MINUTE = 100_000_000  # requests and tokens: its own limiter is to hold nothing back


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", type=Path)
    parser.add_argument("base_url")
    parser.add_argument("--concurrency", type=int, default=200)
    options = parser.parse_args()
    # Nothing but loopback is to be reached: no telemetry, no viewer, no tokeniser from the network, no live display.
    with tempfile.TemporaryDirectory(prefix="curator-") as cache:
        os.environ |= {
            "TELEMETRY_ENABLED": "0",
            "CURATOR_VIEWER": "0",
            "CURATOR_DISABLE_RICH_DISPLAY": "1",
            "CURATOR_CACHE_DIR": cache,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": cache,
            "HOME": cache,
            "TIKTOKEN_CACHE_DIR": _tokenisers(),
            "OPENAI_API_KEY": "none",
        }
        print(json.dumps(_label(options, cache)))


def _label(options: argparse.Namespace, cache: str) -> dict[str, float]:
    from bespokelabs import curator
    from label_form import LabelForm, questions

    class Labeler(curator.LLM):
        """The label path's questions, one structured answer each."""

        response_format = LabelForm

        def prompt(self, question: dict) -> list[dict]:
            """Return the prepared messages."""
            return [{"role": role, "content": question[role]} for role in ("system", "user")]

        def parse(self, question: dict, answer: LabelForm) -> dict:
            """Keep the answer as JSON: its columns differ from finding to finding."""
            return {"complete": answer.complete(), "answer": answer.model_dump_json()}

    limits = dict.fromkeys(("max_requests_per_minute", "max_tokens_per_minute"), PER_MINUTE)
    backend = {"base_url": options.base_url, "max_concurrent_requests": options.concurrency, **limits}
    labeler = Labeler(
        model_name="replay",
        backend="openai",
        backend_params=backend,
        generation_params={"temperature": 0, "max_tokens": 2000},
    )
    asked = questions(options.questions)
    called_at, cpu = time.time(), time.process_time()
    answered = labeler(asked, working_dir=cache)
    returned_at, cpu = time.time(), time.process_time() - cpu
    complete = sum(answered.dataset["complete"])
    again = time.perf_counter()
    labeler(asked, working_dir=cache)
    return {
        "called_at": called_at,
        "returned_at": returned_at,
        "valid": complete,
        "cpu_s": cpu,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "warm_s": time.perf_counter() - again,
    }


def _tokenisers() -> str:
    import importlib.util

    found = importlib.util.find_spec("litellm")
    if found is None or found.origin is None:
        sys.exit("litellm, which comes with bespokelabs-curator, is not installed here")
    return str(Path(found.origin).parent / "litellm_core_utils" / "tokenizers")


if __name__ == "__main__":
    main()
