"""What a campaign will take: counted as it counts itself, and estimates held against what is there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.synthetic_stores import copied
from typer.testing import CliRunner

from teachback.cli import app
from teachback.distill.campaign import campaign_folder
from teachback.distill.config import CampaignSettings, TrainSettings, load_settings
from teachback.distill.plan import plan_campaign, steps_of
from teachback.distill.plan_model import estimate_memory, kept_bytes, measure_shape
from teachback.distill.plan_time import Device, flops_a_token, known_speed, probed_speed, this_device
from teachback.distill.run import run_campaign
from teachback.errors import TrainingError
from teachback.store.database import open_snapshot

# meta-llama/Llama-3.1-8B-Instruct, its shape alone.
LLAMA_8B = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
}


@pytest.fixture
def eight_billion(tmp_path: Path) -> str:
    folder = tmp_path / "llama"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA_8B))
    return str(folder)


def test_a_plan_counts_what_training_does(finished: Any) -> None:
    path, settings, record, *_ = finished
    before = sorted(campaign_folder(path).rglob("*"))
    connection, _ = open_snapshot(path)
    with connection:
        plan = plan_campaign(connection, settings, campaign_folder(path))
        other = plan_campaign(connection, settings.model_copy(update={"seed": 9}), campaign_folder(path))
    assert sorted(campaign_folder(path).rglob("*")) == before
    trained = {r["name"]: r["training"] for r in record["rounds"] if r["training"]["steps"]}
    first = trained["round 1"]
    assert (plan.rows.rows, plan.rows.tokens) == (first["rows"], first["tokens"])
    assert (plan.rows.longest, plan.rows.cut) == (first["longest_row"], first["cut_reports"])
    assert plan.trainings[0].steps == first["steps"] == steps_of(plan.rows.lessons, settings.train)
    assert [training.name for training in plan.trainings] == ["round 1", "round 2 feedback", "round 2 control"]
    for training in plan.trainings[1:]:
        assert training.at_most
        assert first["steps"] <= trained[training.name]["steps"] <= training.steps
    assert plan.splits == record["splits"]
    assert sum(of.labels for of in plan.taught) == record["training_labels"]
    assert {of.source for of in plan.taught} == {"teacher"}
    assert plan.campaign_id == record["campaign_id"]
    assert (plan.finished, other.finished) == (True, False)
    # The texts that a student reads: all reports but those that it is taught on.
    assert plan.reading.texts == sum(n for split, n in record["splits"].items() if split != "train")
    assert json.loads(json.dumps(plan.as_dict()))["fits"] is plan.fits


@pytest.mark.parametrize(
    ("lessons", "first", "steps"),
    [
        (250, None, 110),  # 1.5 passes would be 24 steps
        (250, 250, 110),
        (1000, 250, 440),  # each lesson as often as in round 1
        (200, 250, 110),  # never fewer
        (3000, 2900, 282),  # where the passes decide, they do so in both rounds
        (8000, 250, 500),
    ],
)
def test_a_later_round_has_more_steps_as_it_has_more_lessons(lessons: int, first: int | None, steps: int) -> None:
    train = TrainSettings(epochs=1.5, batch=16, min_steps=110, max_steps=500)
    assert steps_of(lessons, train, first) == steps


def test_what_is_cut_is_counted_before_and_after(
    labelled: Path, settle: Callable[..., CampaignSettings], tmp_path: Path
) -> None:
    store = copied(labelled, tmp_path)
    settings = settle(rounds=1, linear=False, tasks=["findings"], train={"max_length": 150})
    connection, _ = open_snapshot(store)
    with connection:
        rows = plan_campaign(connection, settings, campaign_folder(store)).rows
    assert rows.longest <= 150
    assert rows.cut > 0
    assert rows.cut_tokens >= rows.cut
    training = run_campaign(store, settings)[0]["rounds"][1]["training"]
    assert training["rows"] == rows.rows  # cut, never dropped
    counted = ("longest_row", "cut_reports", "cut_tokens", "long_lists")
    assert [training[name] for name in counted] == [rows.longest, rows.cut, rows.cut_tokens, 0]


def test_time_is_that_of_earlier_trainings_here(finished: Any) -> None:
    path, settings, record, *_ = finished
    connection, _ = open_snapshot(path)
    with connection:
        plan = plan_campaign(connection, settings, campaign_folder(path))
        elsewhere = known_speed(connection, settings, Device("another machine", 0, 0))
    trained = [r["training"] for r in record["rounds"] if r["training"]["steps"]]
    speeds = sorted(training["tokens_per_second"] for training in trained)
    assert plan.speed.tokens_a_second == pytest.approx(speeds[1])  # the middle of three
    assert "3 earlier trainings" in plan.speed.told
    assert elsewhere is None
    # Estimated with the most steps that later rounds may take: never far from what all trainings took.
    assert sum(t["seconds"] for t in trained) / 3 < plan.training_seconds < 3 * sum(t["seconds"] for t in trained)


def test_parameters_are_those_of_the_loaded_student(student: Path, settle: Callable[..., CampaignSettings]) -> None:
    from peft import LoraConfig, get_peft_model

    from teachback.distill.base import load_base

    for targets in ("all-linear", ["q_proj", "v_proj"], r".*mlp\.(up|down)_proj"):
        settings = settle(train={"quantize": False, "target_modules": targets})
        shape = measure_shape(settings)
        model = load_base(str(student), quantize=False)
        assert shape.parameters == sum(p.numel() for p in model.parameters())
        assert shape.base_bytes == sum(p.numel() * p.element_size() for p in model.parameters())
        lora = LoraConfig(r=settings.train.lora_r, target_modules=targets, task_type="CAUSAL_LM")
        adapted = get_peft_model(model, lora)
        assert shape.trained == sum(p.numel() for p in adapted.parameters() if p.requires_grad)


def test_quantized_bytes_are_those_of_the_quantized_student(
    student: Path, settle: Callable[..., CampaignSettings]
) -> None:
    from bitsandbytes.nn import Params4bit

    from teachback.distill.base import load_base

    model = load_base(str(student), quantize=True)
    held = 0
    for parameter in model.parameters():
        held += parameter.numel() * parameter.element_size()
        if isinstance(parameter, Params4bit):
            state = parameter.quant_state
            held += state.absmax.numel() * state.absmax.element_size()
            held += state.state2.absmax.numel() * state.state2.absmax.element_size()
    assert measure_shape(settle(train={"quantize": True})).base_bytes == pytest.approx(held, rel=0.01)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_kept_bytes_are_what_autograd_keeps(
    student: Path, tokenizer: Any, settle: Callable[..., CampaignSettings], tmp_path: Path, checkpointing: bool
) -> None:
    import torch

    from teachback.distill.base import load_base
    from teachback.distill.trainer import build_trainer
    from teachback.distill.tree import Branch, plant

    settings = settle(train={"quantize": True, "gradient_checkpointing": checkpointing})
    # 8 rows of 90 + 6 tokens, a multiple of 16: no padding. The answers are 3 tokens each.
    row = plant(list(range(10, 100)), [Branch((5, 6, 7), (8, 9, 10))])
    trainer = build_trainer(
        load_base(str(student), quantize=True), tokenizer, [row] * 8, settings.train, tmp_path, steps=1
    )
    frozen = {p.untyped_storage().data_ptr() for p in [*trainer.model.parameters(), *trainer.model.buffers()]}
    kept: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        if tensor.untyped_storage().data_ptr() not in frozen:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    measured = []
    compute_loss = trainer.compute_loss

    def watched(*args: Any, **named: Any) -> Any:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = compute_loss(*args, **named)
        measured.append(sum(tensor.untyped_storage().nbytes() for tensor in kept.values()))
        kept.clear()
        return loss

    trainer.compute_loss = watched
    trainer.train()
    shape = measure_shape(settings)
    logits = 8 * 3 * shape.vocabulary * 4  # log-softmax of the answers, fp32
    expected = kept_bytes(shape, settings.train, 8, 96)
    if checkpointing:  # the layer that is computed again is no more than one of them
        one = kept_bytes(shape, settings.train.model_copy(update={"gradient_checkpointing": False}), 8, 96)
        expected -= one // shape.layers
    assert measured[0] - logits == pytest.approx(expected, rel=0.03)


def test_an_8b_student_is_measured_by_its_configuration(eight_billion: str) -> None:
    settings = load_settings("qlora-8b", student=eight_billion)
    shape = measure_shape(settings)
    assert shape.parameters == 8_030_261_248  # as its card says
    # 16 x (in + out) of each adapted layer: q and o 8,192 each, k and v 5,120, gate and up 18,432, down 18,432.
    assert shape.trained == 32 * 16 * (2 * 8192 + 2 * 5120 + 3 * 18432)
    # 6.98 billion in layers at 4.127 bits, 1.05 billion of embeddings and output at 2 or 4 bytes.
    assert 5.6e9 < shape.base_bytes < 7.9e9
    kept = estimate_memory(shape, settings.train, 4, 1024, 400, 1024)
    plain = settings.train.model_copy(update={"gradient_checkpointing": False})
    assert estimate_memory(shape, plain, 4, 1024, 400, 1024).activations > 10 * kept.activations
    # Forward 2 a weight, back 2, and 2 again for what was not kept.
    trained, read = flops_a_token(shape, settings.train, 1)
    assert trained == pytest.approx(6 * 7.0e9, rel=0.03)
    assert read == pytest.approx(2 * 7.0e9, rel=0.03)


def test_a_probe_says_what_it_assumes(settle: Callable[..., CampaignSettings]) -> None:
    settings = settle()
    speed = probed_speed(measure_shape(settings), settings.train, 8, 96, 90.0)
    assert speed.tokens_a_second > 0
    assert "assumed" in speed.told
    assert 0 < this_device().free <= this_device().memory


def test_a_student_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot read the configuration"):
        measure_shape(load_settings("tiny-cpu", student=str(tmp_path)))


def test_the_command_prints_a_plan_and_starts_nothing(finished: Any, settle: Callable[..., CampaignSettings]) -> None:
    path, settings, *_ = finished
    before = path.read_bytes()
    given = ["distill", str(path), "--student", settings.student, "--plan"]
    printed = CliRunner().invoke(app, [*given, "--arms", "as given,no feedback", "--seeds", "3"])
    assert printed.exit_code == 0
    assert printed.output.count("reports") >= 2
    assert "2 arms, 3 seeds each" in printed.output
    assert "Nothing was started." in printed.output
    told = json.loads(CliRunner().invoke(app, [*given, "--json"]).output)
    assert told["trainings"][0]["name"] == "round 1"
    assert told["memory"]["peak"] > told["memory"]["base"]
    assert path.read_bytes() == before
