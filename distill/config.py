"""What a campaign is made of: one frozen object that feeds the API, the command line and the preset files."""

from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from teachback.errors import SettingError

__all__ = ["CampaignSettings", "GateSettings", "SelectSettings", "TrainSettings", "load_settings", "preset_names"]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainSettings(_Frozen):
    """How one student is trained from the base."""

    quantize: bool = Field(default=True, description="NF4 with double quantisation (QLoRA); false for plain LoRA.")
    lora_r: int = Field(default=16, ge=1, description="Rank of the adapter.")
    lora_alpha: int = Field(default=32, ge=1, description="Scale of the adapter; alpha / r multiplies it.")
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: str | list[str] = Field(default="all-linear", description="Layers that get an adapter.")
    learning_rate: float = Field(default=2e-4, gt=0)
    schedule: str = Field(default="cosine", description="A scheduler's name in transformers.")
    warmup_steps: int | None = Field(default=None, ge=0, description="Steps of warm-up; 5 % of all steps if not given.")
    weight_decay: float = Field(default=0.0, ge=0)
    batch: int = Field(default=16, ge=1, description="Reports an optimizer step.")
    micro_batch: int = Field(
        default=16, ge=1, description="The most reports a forward pass; a step of `batch` is divided evenly into such."
    )
    epochs: float = Field(default=2.0, gt=0, description="Passes over the rows.")
    min_steps: int = Field(
        default=0,
        ge=0,
        description="The fewest steps of round 1, however few its rows; a later round has more as it has more rows.",
    )
    max_steps: int | None = Field(default=None, ge=1, description="The most steps, however many the rows.")
    max_length: int = Field(
        default=1024, ge=64, description="Longest row in tokens; longer reports are cut and counted."
    )
    gradient_checkpointing: bool = False
    shard_base: bool | None = Field(
        default=None,
        description="With several processes each keeps its part of the base (FSDP); if not given, those with GPUs do.",
    )
    logging_steps: int = 5
    save_steps: int = Field(default=100, ge=1, description="A killed training resumes from the last of these.")
    patience: int | None = Field(
        default=None,
        ge=1,
        description="Stop early: so many checkpoints without a lower loss on `calibration` end a training, and the "
        "best of all stands; null: all steps. Certificates rest on `calibration` too, and become a little too good.",
    )
    report_to: str = Field(
        default="none", description="Any tracker that TRL knows: tensorboard, wandb, mlflow, ...; or all installed."
    )
    seed: int = 0


class SelectSettings(_Frozen):
    """Which of a student's predictions may come back as labels."""

    error: float = Field(default=0.05, gt=0, lt=0.5, description="Certified share of wrong pseudo-labels, per class.")
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="Probability with which the certificate holds.")
    weight: float = Field(default=0.4, gt=0, le=1, description="Weight of a pseudo-label, times its probability.")
    share: float = Field(
        default=0.3, gt=0, le=1, description="Pseudo-labels a round, as a share of the teacher's labels."
    )
    promise: Literal["class", "all"] = Field(
        default="class", description="Whether the confidence is that of each class, or of all classes at once."
    )
    rare: Literal["refuse", "pool"] = Field(
        default="refuse",
        description="Classes with too few calibration predictions: refused, or certified together by status.",
    )
    carry: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="How surely a sentence is about a finding to be taught a label of another section, such as 0.2.",
    )
    folds: int = Field(
        default=0,
        ge=0,
        description="Folds of the taught reports, each read by a student of the others: what it is sure of where the "
        "teacher did not read may come back; below 2, only reports that the teacher has not labelled are asked.",
    )
    objection: float = Field(
        default=0.8, gt=0, le=1, description="A teacher at least this sure of another status keeps a pseudo-label out."
    )


class GateSettings(_Frozen):
    """What a candidate must show to take the champion's place."""

    alpha: float = Field(
        default=0.05, gt=0, lt=0.5, description="Chance that a campaign ever promotes a student with a lower micro-F1."
    )
    first_share: float = Field(
        default=0.8, gt=0, le=1, description="Share of it that a look may spend; the rest is for looks after a refusal."
    )
    macro_margin: float = Field(default=0.03, ge=0, description="How much lower macro-F1 may be, at its lower bound.")
    macro_level: float = Field(default=0.05, gt=0, lt=0.5, description="One-sided level of that bound.")
    macro_positives: int = Field(
        default=20, ge=1, description="Findings with fewer curated positives count as one finding together."
    )
    harm_level: float = Field(
        default=0.05, gt=0, lt=0.5, description="Chance of seeing harm to any finding where there is none."
    )
    drift_level: float = Field(default=0.05, gt=0, lt=0.5, description="The same of seeing drift.")
    brier_margin: float = Field(default=0.005, ge=0, description="How much higher the Brier score may be.")
    ece_margin: float = Field(default=0.02, ge=0, description="How much higher the calibration error may be.")
    average: bool = Field(
        default=True, description="Let the mean of a refused candidate and the champion stand once in its place."
    )
    list_band: float = Field(
        default=0.25, gt=0, lt=1, description="Share by which the mean disease list may be longer or shorter."
    )


class CampaignSettings(_Frozen):
    """One distillation campaign: a student, its teacher, its rounds and their gate."""

    student: str = Field(default=..., description="A Hugging Face id or a local folder.")
    prompt: str = Field(default="default", description="File in prompts/student/.")
    rounds: int = Field(default=2, ge=1)
    tasks: list[Literal["findings", "diseases"]] = ["findings", "diseases"]
    scope: Literal["impression", "full", "mimic"] = Field(
        default="full", description="What the student reads to predict."
    )
    unit: Literal["report", "sentence"] = Field(
        default="report", description="What it reads at a time; sentences need teachers that quote their evidence."
    )
    corpus: str | None = Field(default=None, description="Only reports of this corpus.")
    teacher_weight: float = 1.0
    curated_weight: float = 2.0
    disease_weight: float = Field(
        default=0.2, ge=0, description="Weight of a disease token beside a finding token's 1."
    )
    disease_form: Literal["phrases", "json"] = Field(
        default="phrases", description="How diseases are listed: phrases with codes, or JSON with quoted evidence."
    )
    verify_weight: float = Field(
        default=0.0, ge=0, description="Weight of yes or no for each disease, from which its confidence comes; 0: none."
    )
    backend: Literal["transformers", "vllm"] = Field(
        default="transformers", description="What computes probabilities; TEACHBACK_BACKEND goes before it."
    )
    calibration: Literal["temperature", "isotonic", "auto"] = Field(
        default="temperature",
        description="How probabilities are calibrated, finding by finding; auto: as cross-validation chooses.",
    )
    start: Literal["restart", "continue", "merge", "average"] = Field(
        default="restart",
        description="Where a later round's student starts: the base; the champion; or the base, then joined with the "
        "champion: as their model stock (merge), or as their mean (average).",
    )
    targets: Literal["hard", "soft"] = Field(
        default="hard", description="One status a target, or the shares that the teacher's votes give to each."
    )
    unmentioned: Literal["scope", "negative"] = Field(
        default="scope",
        description="What silence says of sections that its labeler did not read. scope: labels are taught on the text "
        "of their scope alone; negative: on all that the student reads, silence as such.",
    )
    noise: Literal["none", "prune"] = Field(
        default="none",
        description="Whether teacher labels that look wrong to students that were not trained on them are left out.",
    )
    noise_folds: int = Field(default=5, ge=2, description="Parts, each judged by a student of the others.")
    control: bool = Field(
        default=True,
        description="Train a no-feedback round of the same budget beside each feedback round; the better one on "
        "`calibration` goes to the gate.",
    )
    linear: bool = Field(default=True, description="Train the bag-of-words baseline.")
    seed: int = 0
    train: TrainSettings = Field(default_factory=TrainSettings)
    select: SelectSettings = Field(default_factory=SelectSettings)
    gate: GateSettings = Field(default_factory=GateSettings)


def preset_names() -> list[str]:
    """Return the names of the presets that ship with the package."""
    folder = resources.files("teachback.distill") / "presets"
    names = (entry.name for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    return sorted(name.removesuffix(".yaml") for name in names if name != "arms.yaml")


def load_settings(preset: str, **overrides: Any) -> CampaignSettings:
    """Read a preset by name, or a YAML file by path, and change what is given.

    Args:
        preset: A preset's name or a file ending in `.yaml`.
        overrides: Fields of `CampaignSettings`; None leaves the preset's value. `train`, `select` and
            `gate` take mappings.

    Raises:
        SettingError: No such preset, or a field is unknown or out of range; names the file and the field.
    """
    if preset.endswith((".yaml", ".yml")):
        path: Any = Path(preset)
    else:
        path = resources.files("teachback.distill") / "presets" / f"{preset}.yaml"
    if not path.is_file():
        raise SettingError(f"there is no preset {preset!r}", f"use one of {', '.join(preset_names())}, or a .yaml file")
    fields = _read_fields(preset, path.read_text(encoding="utf-8"))
    for name, value in overrides.items():
        if isinstance(value, dict):
            fields[name] = {**(fields.get(name) or {}), **{k: v for k, v in value.items() if v is not None}}
        elif value is not None:
            fields[name] = value
    try:
        return CampaignSettings(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingError(f"{preset}: {where}: {first['msg']}", "see distill/config.py for the fields") from error


def _read_fields(preset: str, text: str) -> dict[str, Any]:
    try:
        fields = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise SettingError(f"{preset} is not YAML: {' '.join(str(error).split())}", "mend the file") from error
    if not isinstance(fields, dict):
        raise SettingError(f"{preset} holds no fields", "write one `name: value` a line, as in distill/presets/")
    return fields
