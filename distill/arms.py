"""Arms: ways to run a campaign that are worth a comparison, as YAML; and the budget that they share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from teachback.distill.config import CampaignSettings
from teachback.errors import SettingError

__all__ = ["AS_GIVEN", "Arm", "arm_names", "check_arms", "load_arms"]

ALL = "all"
# What all arms have alike: the seeds, and how long each training is.
BUDGET = ("min_steps", "max_steps", "epochs", "seed")


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to run a campaign.

    Attributes:
        name: What it is called.
        why: Why it is compared.
        changes: Fields of `CampaignSettings` that it changes; those of `train`, `select` and `gate` one by one.
    """

    name: str
    why: str
    changes: Mapping[str, Any]

    def settle(self, settings: CampaignSettings) -> CampaignSettings:
        """Change settings as this arm does.

        Raises:
            SettingError: A field is unknown, out of range or one that arms share; names the arm and the field.
        """
        train = self.changes.get("train")
        own = [f"train.{field}" for field in BUDGET if isinstance(train, Mapping) and field in train]
        own += ["seed"] if "seed" in self.changes else []
        if own:
            remedy = "leave it out: arms share seeds (`--seeds`) and steps (those of the first arm)"
            raise SettingError(f"arm {self.name!r} sets {own[0]}", remedy)
        fields = settings.model_dump()
        for name, value in self.changes.items():
            part = fields.get(name)
            fields[name] = {**part, **value} if isinstance(part, dict) and isinstance(value, dict) else value
        try:
            return CampaignSettings(**fields)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise SettingError(f"arm {self.name!r}: {where}: {first['msg']}", "see distill/config.py") from error


AS_GIVEN = Arm("as given", "the settings that were given", {})


def arm_names() -> list[str]:
    """Return the names of the arms that ship with the package."""
    return [arm.name for arm in _packaged()]


def load_arms(wanted: str) -> list[Arm]:
    """Read arms: a YAML file, or names of packaged ones with commas between, in the order that is asked for.

    Args:
        wanted: A file ending in `.yaml`, names, or `all`.

    Raises:
        SettingError: No such file or arm, or the file holds something else.
    """
    if wanted.endswith((".yaml", ".yml")):
        path = Path(wanted)
        if not path.is_file():
            raise SettingError(f"there is no file {wanted}", f"name one, or arms of {', '.join(arm_names())}")
        return _read(path.read_text(encoding="utf-8"), wanted)
    by_name = {arm.name: arm for arm in _packaged()}
    names = list(by_name) if wanted == ALL else [name.strip() for name in wanted.split(",")]
    for name in names:
        if name not in by_name:
            raise SettingError(f"there is no arm {name!r}", f"use {', '.join(by_name)}, or a .yaml file")
    return [by_name[name] for name in dict.fromkeys(names)]


def check_arms(arms: Sequence[Arm], settings: CampaignSettings) -> None:
    """Settle all arms before the first is run, so that none fails for its settings after hours.

    Raises:
        SettingError: As `Arm.settle`, or there are none.
    """
    if not arms:
        raise SettingError("there are no arms to run", f"name some of {', '.join(arm_names())}, or a .yaml file")
    for arm in arms:
        arm.settle(settings)


def _packaged() -> list[Arm]:
    path = resources.files("teachback.distill") / "presets" / "arms.yaml"
    return _read(path.read_text(encoding="utf-8"), "arms.yaml")


def _read(text: str, file: str) -> list[Arm]:
    try:
        listed = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingError(f"{file} is not YAML: {' '.join(str(error).split())}", "mend the file") from error
    if not isinstance(listed, dict) or not all(isinstance(fields, dict) for fields in listed.values()) or not listed:
        raise SettingError(f"{file} holds no arms", "write `name:` and under it `why:` and the fields it changes")
    return [
        Arm(str(name), str(fields.get("why", "")), {k: v for k, v in fields.items() if k != "why"})
        for name, fields in listed.items()
    ]
