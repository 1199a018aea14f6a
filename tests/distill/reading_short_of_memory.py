"""A student that reads, in large batches, in a process whose address space ends behind what a small batch takes.

    python -m tests.distill.reading_short_of_memory STUDENT ROOM OUT

Saves what it read to OUT; prints, as JSON, how many reports it read at a time, and with which error it ended.
"""

import json
import sys

import numpy as np
from tests.distill.short_of_memory import end_memory

from teachback.distill import predict
from teachback.distill.base import load_base, load_tokenizer, require_training
from teachback.distill.prompt import load_student_prompt
from teachback.distill.questions import Questions
from teachback.errors import TrainingError
from teachback.store.corpora.synthetic import generate

MANY_TOKENS = 1_000_000


def texts() -> list[str]:
    """Return 24 long texts."""
    return [entry.report.text("full") * 4 for entry in generate(24, seed=11)]


def main() -> None:
    student, room, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    require_training()
    questions = Questions(load_tokenizer(student), max_length=1024, **load_student_prompt("short"))
    model = load_base(student, quantize=False).eval()
    predict.predict_findings(model, questions, texts()[:1])  # what is set up with the first batch is there
    predict.TOKENS_A_CPU_BATCH = MANY_TOKENS  # so that memory, and not a cache, is the bound
    end_memory(room)
    read: list[int] = []
    try:
        np.save(out, predict.predict_findings(model, questions, texts(), read.append))
    except TrainingError as error:
        print(json.dumps({"read": read, "error": error.message, "remedy": error.remedy}))
    else:
        print(json.dumps({"read": read}))


if __name__ == "__main__":
    main()
