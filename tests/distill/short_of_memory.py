"""A training in a process whose address space ends behind its first step; killed at its third, if it gets so far.

    python -m tests.distill.short_of_memory STUDENT FOLDER ROOM BATCH

Prints, as JSON, what the training said and with which error it ended.
"""

import json
import os
import resource
import sys
from pathlib import Path

from teachback.distill.base import load_tokenizer, require_training
from teachback.distill.config import TrainSettings
from teachback.distill.prompt import load_student_prompt
from teachback.distill.questions import Questions, Target
from teachback.distill.train import train_adapter
from teachback.distill.tree import TreeRow
from teachback.errors import TrainingError
from teachback.store.corpora.synthetic import generate
from teachback.store.label import FINDINGS

LARGE = TrainSettings(lora_r=4, batch=32, micro_batch=32, logging_steps=1, save_steps=2, learning_rate=1e-2)


def rows_of(student: str) -> list[TreeRow]:
    """Write rows of all 13 questions on reports that are read three times over."""
    questions = Questions(load_tokenizer(student), max_length=1024, **load_student_prompt("short"))
    targets = {finding: Target("present", 1.0) for finding in FINDINGS}
    return [questions.row(entry.report.text("full") * 3, targets) for entry in generate(32, seed=7)]


def end_memory(room: int) -> None:
    """Forbid this process to take more than `room` bytes beyond what it has."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (size,) = (int(line.split()[1]) * 1024 for line in lines if line.startswith("VmSize"))
    resource.setrlimit(resource.RLIMIT_AS, (size + room, resource.RLIM_INFINITY))


def main() -> None:
    student, folder, room, batch = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    require_training()
    said: list[str] = []

    def progress(step: int, loss: float) -> None:
        if step == 1 and not said:
            end_memory(room)
        if step == 3:
            print(json.dumps({"said": said}), flush=True)
            os._exit(9)

    settings = LARGE.model_copy(update={"batch": batch, "micro_batch": batch})
    rows = sorted(rows_of(student), key=len)[-batch:]
    try:
        train_adapter(
            student, load_tokenizer(student), rows, settings, folder, steps=4, progress=progress, say=said.append
        )
    except TrainingError as error:
        print(json.dumps({"said": said, "error": error.message, "remedy": error.remedy}))


if __name__ == "__main__":
    main()
