"""Where a later round's student starts: the base, the champion, or the base, to be joined with the champion."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from teachback.distill.run import run_campaign


def weights(round_: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = load_file(str(Path(round_["folder"]) / "adapter" / "adapter_model.safetensors"))
    return loaded


def change(of: dict[str, Any]) -> Any:
    """What the first layer's factors come to, without their scale."""
    down = next(name for name in sorted(of) if "lora_A" in name)
    return of[down.replace("lora_A", "lora_B")] @ of[down]


@pytest.mark.slow
@pytest.mark.parametrize("start", ["continue", "merge", "average"])
def test_a_second_round_starts_from_the_champion_or_is_joined_with_it(
    store_path: Path, settle: Callable[..., Any], start: str
) -> None:
    train = {"epochs": 1.0, "learning_rate": 3e-2}
    settings = settle(select={"error": 0.45}, train=train, start=start, linear=False)
    record, _ = run_campaign(store_path, settings)
    by_name = {round_["name"]: round_ for round_ in record["rounds"]}
    champion, second = by_name["round 1"], by_name["round 2 feedback"]
    if start in ("merge", "average"):
        assert second["training"]["merged_with"] == by_name["round 2 control"]["training"]["merged_with"] == "round 1"
        config = json.loads((Path(second["folder"]) / "adapter" / "adapter_config.json").read_text())
        assert config["r"] == 2 * settings.train.lora_r
        if start == "average":
            alone = load_file(str(Path(second["folder"]) / "unmerged" / "adapter" / "adapter_model.safetensors"))
            scale = settings.train.lora_alpha / settings.train.lora_r
            mean = [(change(weights(champion)) + change(alone)) * scale / 2, change(weights(second))]
            assert torch.allclose(*mean, atol=1e-6)
        return
    # What was learnt goes on from the champion: its A is still there, where a new adapter's random A would be at right
    # angles to it (within .1 for rows of 64).
    before, after = weights(champion), weights(second)
    downs = [name for name in before if "lora_A" in name]
    alike = [torch.nn.functional.cosine_similarity(before[n].flatten(), after[n].flatten(), dim=0) for n in downs]
    assert float(torch.stack(alike).mean()) > 0.4
    assert any(not torch.equal(before[n], after[n]) for n in downs)
