"""The main job on real reports: Open-i in, both teachers, two rounds with feedback, judged by the manual MeSH codes.

The codes name positives only, so they score the detection of positives and nothing else. The language model is the
package's stand-in unless `--llm openai` is given, so its column says nothing about GPT-4o.

    TEACHBACK_OPENI=/data/openi python benchmarks/openi_loop.py --student tiny --out openi-loop

Prints its setting, the table of labelers and rounds, and one JSON object as its last line.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from teachback.agents.assemble import TeacherSettings, choose_llm, teach_store
from teachback.agents.selection import Selection
from teachback.agents.settings import LLMSettings
from teachback.agents.stand_in import stand_in_settings
from teachback.agents.teach import TeachConfig
from teachback.cli.rounds_bar import RoundsBar
from teachback.distill.base import require_training, resolve_student
from teachback.distill.config import load_settings
from teachback.distill.init_student import init_student
from teachback.distill.prompt import load_student_prompt
from teachback.distill.recipe import Recipe
from teachback.distill.report import print_campaign, write_report
from teachback.distill.run import run_campaign
from teachback.store.corpora.intake import import_reports
from teachback.store.corpora.openi import read_openi
from teachback.store.database import Store, open_snapshot
from teachback.store.rows import fetch_reports


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("openi-loop"), help="folder for store, adapters and report")
    parser.add_argument("--student", default="tiny", help="tiny, a folder, or a Hugging Face id")
    parser.add_argument("--adapt", type=float, default=60, help="seconds that a tiny student first reads the reports")
    parser.add_argument("--epochs", type=float, default=4, help="passes over the rows")
    parser.add_argument("--preset", default="tiny-cpu")
    parser.add_argument("--llm", default="stand-in", choices=["stand-in", "openai"])
    parser.add_argument("--rule-scope", default="full", choices=["full", "impression", "mimic"])
    parser.add_argument("--taught", type=int, default=800, help="training reports that the teacher labels")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    require_training()
    console = Console(width=110)
    source = Path(os.environ["TEACHBACK_OPENI"]) / "openi_dev_xml.tgz"
    store, started = args.out / "labels.duckdb", time.monotonic()
    setting = {name: str(value) for name, value in vars(args).items()}
    console.print(f"setting: {setting}, reports {source.name}")
    with Store(store) as opened:
        imported = import_reports(opened, read_openi(source), command="benchmarks/openi_loop.py")
    label_seconds = label(store, args)
    student, adapted = adapt(store, args)
    settings = load_settings(
        args.preset,
        student=student,
        corpus="openi",
        seed=args.seed,
        train={"seed": args.seed, "epochs": args.epochs},
    )
    with RoundsBar(console) as bar:
        record, folder = run_campaign(store, settings, bar, command="benchmarks/openi_loop.py")
    connection, _ = open_snapshot(store)
    page = write_report(record, connection, args.out / "report.html", title="Open-i")
    print_campaign(record, console)
    console.print(f"report: {page}; campaign: {folder}")
    print(
        json.dumps(
            {
                "benchmark": "openi_loop",
                "setting": setting,
                "environment": record["environment"],
                "splits": imported.splits,
                "pool": record["splits"]["pool"],
                "adaptation": adapted,
                "label_seconds": round(label_seconds, 1),
                "campaign_seconds": round(record["seconds"], 1),
                "total_seconds": round(time.monotonic() - started, 1),
                "stopped": record["stopped"],
                "champion": record["champion"],
                "subjects": [figures(subject) for subject in (*record["teacher"]["subjects"], *record["rounds"])],
                "decisions": [
                    {"round": r["name"], "reason": r["decision"]["reason"]} for r in record["rounds"] if r["decision"]
                ],
                "feedback_over_control": record["feedback_over_control"],
            }
        )
    )


def label(store: Path, args: argparse.Namespace) -> float:
    """Label the training reports and the judging splits; return the seconds it took."""
    chosen, endpoint = choose_llm(args.llm), LLMSettings.from_env()
    teacher = TeacherSettings(
        chosen, stand_in_settings(endpoint) if chosen == "stand-in" else endpoint, rule_scope=args.rule_scope
    )
    started = time.monotonic()
    for selection in (
        Selection("openi", ("train",), args.taught, args.seed),
        Selection("openi", ("gate", "test"), None, args.seed),
    ):
        teach_store(store, teacher, TeachConfig(selection, 200, settings={"llm": chosen}))
    return time.monotonic() - started


def adapt(store: Path, args: argparse.Namespace) -> tuple[str, dict[str, Any] | None]:
    """Let a tiny student read the unlabelled text of the training reports before it is taught."""
    if not args.adapt or "/" in args.student:
        return args.student, None
    connection, _ = open_snapshot(store)
    reports = fetch_reports(connection, "report_id IN (SELECT report_id FROM splits WHERE split = 'train')")
    connection.close()
    texts = [text for report in reports if (text := report.text("full"))]
    recipe = Recipe(seconds=args.adapt, learning_rate=1e-3, seed=args.seed)
    folder = args.out / "student"
    record = init_student(texts, folder, recipe, load_student_prompt("short"), start=resolve_student(args.student))
    return str(folder), {key: record[key] for key in ("reports", "tokens", "steps_done", "seconds_taken", "loss")}


def figures(subject: dict[str, Any]) -> dict[str, Any]:
    """Return what a table needs of one labeler or round, without per-finding detail."""
    out: dict[str, Any] = {"name": subject["name"]}
    for split in ("gate", "test"):
        judged = subject[split]
        out[split] = {
            "n": judged["figures"]["n_reports"],
            "positives": judged["figures"]["positives"],
            "micro_f1": judged["figures"]["micro"],
            "macro_f1": judged["figures"]["macro"],
            "micro_over_teacher": judged["over_teacher"] and judged["over_teacher"]["micro"],
        }
    return out


if __name__ == "__main__":
    main()
