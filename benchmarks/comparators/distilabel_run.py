"""distilabel on prepared questions; run by `teacher_graph.py` in an environment of its own.

    python distilabel_run.py questions.jsonl http://127.0.0.1:8000/v1 --concurrency 200

A pipeline of one step, `TextGeneration`, whose batches go out at once; its answers are validated against the form
afterwards, which costs it less than having `instructor` do it call by call (`--instructor`). Its last line is one JSON
object: when the pipeline returned, how many answers are valid, its CPU and peak memory.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", type=Path)
    parser.add_argument("base_url")
    parser.add_argument("--concurrency", type=int, default=200)
    parser.add_argument("--instructor", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="distilabel-") as cache:
        os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": cache, "HOME": cache, "DISTILABEL_LOG_LEVEL": "WARNING"}
        print(json.dumps(_label(options, cache)))


def _label(options: argparse.Namespace, cache: str) -> dict[str, float]:
    from distilabel.models.llms import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration
    from label_form import LabelForm, questions
    from pydantic import ValidationError

    asked = [{"system_prompt": one["system"], "instruction": one["user"]} for one in questions(options.questions)]
    with Pipeline(name="labels", cache_dir=cache) as pipeline:
        load = LoadDataFromDicts(data=asked, batch_size=options.concurrency)
        model = OpenAILLM(
            model="replay",
            base_url=options.base_url,
            api_key="none",
            structured_output={"schema": LabelForm} if options.instructor else None,
            generation_kwargs={
                "temperature": 0,
                "max_new_tokens": 2000,
                **({} if options.instructor else {"response_format": {"type": "json_object"}}),
            },
        )
        load >> TextGeneration(llm=model, input_batch_size=options.concurrency)
    called_at = time.time()
    made = pipeline.run(use_cache=False)
    valid = 0
    for answer in made["default"]["train"]["generation"]:
        try:
            valid += LabelForm.model_validate_json(answer or "").complete()
        except ValidationError:
            continue
    returned_at = time.time()
    own, steps = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "called_at": called_at,
        "returned_at": returned_at,
        "valid": valid,
        "cpu_s": own.ru_utime + own.ru_stime + steps.ru_utime + steps.ru_stime,
        "peak_rss_mib": max(own.ru_maxrss, steps.ru_maxrss) / 1024,
    }


if __name__ == "__main__":
    main()
