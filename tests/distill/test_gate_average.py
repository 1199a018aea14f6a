"""The average of two adapters changes every weight by exactly the mean of what the two change it by."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from teachback.distill.average import average_adapters, stock_adapters
from teachback.errors import TrainingError

Save = Callable[..., Path]


@pytest.fixture
def base(torch: Any, llama: Any, tokenizer: Any, tmp_path: Path) -> Path:
    """A tiny random Llama on disk."""
    folder = tmp_path / "base"
    llama.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def save(torch: Any, base: Path, tmp_path: Path) -> Save:
    """Write an adapter of random factors; both of them, because B starts at zero."""
    from peft import LoraConfig, get_peft_model

    from teachback.distill.base import load_base

    def make(name: str, seed: int, **given: Any) -> Path:
        chosen = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **given}
        model = get_peft_model(load_base(str(base), quantize=False).float(), LoraConfig(**chosen))
        torch.manual_seed(seed)
        for parameter_name, parameter in model.named_parameters():
            if "lora_" in parameter_name:
                torch.nn.init.normal_(parameter, std=0.1)
        model.save_pretrained(tmp_path / name)
        return tmp_path / name

    return make


def changes(torch: Any, base: Path, adapter: Path, *, quantize: bool) -> dict[str, Any]:
    """What an adapter adds to each layer's output, one unit vector at a time: its change of the weight."""
    from teachback.distill.base import load_student

    model = load_student(str(base), adapter, quantize=quantize)
    layers = {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}
    out = {}
    for name, layer in layers.items():
        unit = torch.eye(layer.in_features)
        down, up = layer.lora_A["default"], layer.lora_B["default"]
        with torch.no_grad():
            out[name] = up(down(unit)).T * layer.scaling["default"]
    return out


@pytest.mark.parametrize("quantize", [False, True])
def test_the_change_is_the_mean_of_both_changes(
    torch: Any, base: Path, save: Save, tmp_path: Path, quantize: bool
) -> None:
    # Ranks, scales (8 / 4 = 2, 3 / sqrt(9) = 1) and layers differ.
    one, other = save("one", 1), save("other", 2, r=9, lora_alpha=3, use_rslora=True, target_modules=["q_proj"])
    averaged = average_adapters(one, other, tmp_path / "mean")
    a, b, mean = (changes(torch, base, folder, quantize=quantize) for folder in (one, other, averaged))
    assert set(mean) == set(a) > set(b)
    for layer, change in mean.items():
        wanted = (a[layer] + b.get(layer, torch.zeros_like(change))) / 2
        torch.testing.assert_close(change, wanted, rtol=0, atol=1e-6)
        assert wanted.abs().max() > 1e-3
    assert json.loads((averaged / "adapter_config.json").read_text())["r"] == 13


@pytest.mark.parametrize("quantize", [False, True])
def test_on_a_layer_outputs_are_the_mean_of_both_students(
    torch: Any, base: Path, save: Save, tmp_path: Path, quantize: bool
) -> None:
    # One linear layer answers W x + change x, so the mean of two students' answers is the averaged student's. NF4
    # rounds W, the same for all three.
    from teachback.distill.base import load_student

    one, other = save("one", 1), save("other", 2)
    averaged = average_adapters(one, other, tmp_path / "mean")
    said = []
    for folder in (one, other, averaged):
        model = load_student(str(base), folder, quantize=quantize)
        layer = model.base_model.model.model.layers[1].mlp.down_proj
        torch.manual_seed(0)
        with torch.no_grad():
            said.append(layer(torch.randn(5, 192, dtype=model.dtype)).float())
    # A bf16 sum is rounded to 8 bits.
    tolerance = 1e-5 if model.dtype == torch.float32 else float(said[0].abs().max()) / 2**7
    torch.testing.assert_close(said[2], (said[0] + said[1]) / 2, rtol=0, atol=tolerance)
    assert (said[0] - said[1]).abs().max() > 4 * tolerance


def test_a_share_of_nothing_leaves_the_champion(torch: Any, base: Path, save: Save, tmp_path: Path) -> None:
    one, other = save("one", 1), save("other", 2)
    a = changes(torch, base, one, quantize=False)
    for layer, change in changes(
        torch, base, average_adapters(one, other, tmp_path / "x", weight=0), quantize=False
    ).items():
        torch.testing.assert_close(change, a[layer], rtol=0, atol=1e-6)


def test_averaging_the_factors_would_be_wrong(torch: Any, base: Path, save: Save, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    one, other = save("one", 1), save("other", 2)
    mean = changes(torch, base, average_adapters(one, other, tmp_path / "mean"), quantize=False)
    a, b = (load_file(folder / "adapter_model.safetensors") for folder in (one, other))
    layer = next(iter(mean))
    factors = [(a[f"{layer}.lora_{x}.weight"] + b[f"{layer}.lora_{x}.weight"]) / 2 for x in "BA"]
    linear = 2.0 * factors[0] @ factors[1]
    assert (linear - mean[layer]).abs().max() > 0.2 * mean[layer].abs().max()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"use_dora": True}, "use_dora is True"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern is"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'"),
    ],
)
def test_what_is_no_plain_lora_is_refused(save: Save, tmp_path: Path, given: dict[str, Any], named: str) -> None:
    one, other = save("one", 1), save("other", 2)
    config = json.loads((other / "adapter_config.json").read_text()) | given
    (other / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(TrainingError, match=named):
        average_adapters(one, other, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_another_base_a_missing_folder_and_a_wrong_share_are_named(save: Save, tmp_path: Path) -> None:
    one, other = save("one", 1), save("other", 2)
    with pytest.raises(TrainingError, match="holds no adapter"):
        average_adapters(one, tmp_path / "nowhere", tmp_path / "mean")
    with pytest.raises(TrainingError, match=r"weight is 1\.5"):
        average_adapters(one, other, tmp_path / "mean", weight=1.5)
    config = json.loads((other / "adapter_config.json").read_text()) | {"base_model_name_or_path": "another"}
    (other / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(TrainingError, match="differ in base_model_name_or_path"):
        average_adapters(one, other, tmp_path / "mean")


def test_a_stock_keeps_what_two_students_agree_on_and_drops_the_rest(torch: Any, base: Path, save: Save) -> None:
    """t = 2 cos / (1 + cos) of each layer multiplies the mean; the angle is taken between the changes as matrices."""
    first, second = save("a", 1), save("b", 2, r=8)
    stocked = changes(torch, base, stock_adapters(first, second, first.with_name("stock")), quantize=False)
    of = [changes(torch, base, folder, quantize=False) for folder in (first, second)]
    for layer, change in stocked.items():
        one, other = of[0][layer], of[1][layer]
        cosine = float((one * other).sum() / (one.norm() * other.norm()))
        kept = max(0.0, 2 * cosine / (1 + cosine))
        assert torch.allclose(change, kept * (one + other) / 2, atol=1e-5)
    alike = changes(torch, base, stock_adapters(first, first, first.with_name("same")), quantize=False)
    assert all(torch.allclose(change, of[0][layer], atol=1e-5) for layer, change in alike.items())
