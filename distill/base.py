"""Load the base model and its tokenizer, quantized to NF4 where asked."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from teachback.errors import MissingExtraError, TrainingError

__all__ = ["compute_in_bf16", "load_base", "load_student", "load_tokenizer", "require_training", "resolve_student"]


def require_training() -> None:
    """Raise `MissingExtraError` unless the training part is installed; quieten its loading bars."""
    # What these libraries say at import is meant for their developers: deprecations, and kernels of a hub.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\..*")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        import torch

        with _uncompiled(torch):
            import bitsandbytes  # noqa: F401
        import peft  # noqa: F401
        import trl  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"training needs {error.name}, which is not installed", "pip install 'teachback[train]'"
        ) from error
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()


@contextmanager
def _uncompiled(torch: Any) -> Iterator[None]:
    """Let `torch.compile` return what it is given.

    bitsandbytes wraps four functions in it, for devices that it has no kernels of its own for. To prepare that loads
    the whole compiler, a second of each start. A CPU and CUDA have such kernels for the blocks that students are loaded
    in; where there are none, the four run as they are written.
    """
    compiling = torch.compile
    torch.compile = lambda model=None, **_: (lambda later: later) if model is None else model
    try:
        yield
    finally:
        torch.compile = compiling


def compute_in_bf16() -> bool:
    """Whether this machine multiplies bf16 matrices in hardware (on two Zen 4 cores: 2.7 times fp32's rate)."""
    import torch

    return torch.cuda.is_available() or bool(torch.cpu._is_avx512_bf16_supported())


def resolve_student(student: str) -> str:
    """Return the folder of the packaged base for `tiny`, any other name as it is."""
    return str(resources.files("teachback.distill") / "students" / "tiny") if student == "tiny" else student


def load_tokenizer(student: str) -> Any:
    """Load a student's tokenizer, with a padding token."""
    from transformers import AutoTokenizer

    tokenizer = _from_pretrained(AutoTokenizer, student)
    if tokenizer.pad_token_id is None:
        # Llama 3 has no padding token of its own; this one is reserved and never trained on.
        reserved = "<|finetune_right_pad_id|>"
        tokenizer.pad_token = reserved if reserved in tokenizer.get_vocab() else tokenizer.eos_token
    if not tokenizer.chat_template:
        raise TrainingError(f"{student} has no chat template", "use an instruction-tuned model of the Llama family")
    return tokenizer


def load_base(student: str, *, quantize: bool) -> Any:
    """Load a causal language model for training or scoring.

    Args:
        student: A Hugging Face id or a local folder.
        quantize: NF4 with double quantisation through bitsandbytes.

    Raises:
        TrainingError: The model cannot be found or loaded.
    """
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    cuda = torch.cuda.is_available()
    compute = torch.bfloat16 if compute_in_bf16() else torch.float32
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )
    model = _from_pretrained(
        AutoModelForCausalLM,
        student,
        dtype=compute,
        # On CPU the fused kernel's backward is five times slower than plain matrix products at these lengths.
        attn_implementation="sdpa" if cuda else "eager",
        device_map={"": torch.cuda.current_device()} if cuda else None,
        **({"quantization_config": quantization} if quantize else {}),
    )
    for module in model.modules():
        # bitsandbytes repacks weights on first use in eval mode for a CPU kernel that is fetched from a hub.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def load_student(student: str, adapter: Path, *, quantize: bool) -> Any:
    """Load a base model with a trained adapter, ready to predict.

    Raises:
        TrainingError: The base cannot be loaded, or the adapter is not there or damaged.
    """
    from peft import PeftModel
    from safetensors import SafetensorError

    base = load_base(student, quantize=quantize)
    try:
        return PeftModel.from_pretrained(base, str(adapter)).eval()
    except (SafetensorError, OSError, ValueError) as error:
        raise TrainingError(
            f"cannot load the adapter in {adapter}: {str(error).splitlines()[0]}",
            "if it is damaged, remove the folder that it lies in; the command that made it trains it again",
        ) from error


def _from_pretrained(loader: Any, student: str, **options: Any) -> Any:
    local = Path(student).is_dir()
    if not local and (student.startswith((".", "/")) or student.count("/") != 1):
        raise TrainingError(f"there is no student folder {student}", "make one: `teachback init-student --help`")
    try:
        offline = local or bool(os.environ.get("HF_HUB_OFFLINE"))
        return loader.from_pretrained(student, local_files_only=offline, **options)
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"cannot load {student}: {str(error).splitlines()[0]}",
            "check the name, `hf auth login` for gated models, or make a tiny one with `teachback init-student`",
        ) from error
