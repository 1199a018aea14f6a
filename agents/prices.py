"""What a call costs: a dated price list that the user can replace."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from teachback.errors import SettingError

__all__ = ["BATCH_SHARE", "Price", "PriceList", "load_prices"]

SHIPPED = Path(__file__).with_name("prices.yaml")
BATCH_SHARE = 0.5  # of the price, for what is handed in as a batch
TOKENS_PER_UNIT = 1_000_000  # prices are per one million tokens

_DATE_ENDING = re.compile(r"-\d{4}-\d{2}-\d{2}$")


class Price(BaseModel):
    """US dollars per one million tokens.

    Attributes:
        input: Tokens sent.
        cached: Tokens sent that the endpoint had cached.
        output: Tokens returned.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0)
    cached: float = Field(ge=0)
    output: float = Field(ge=0)


@dataclass(frozen=True)
class PriceList:
    """Prices by model.

    Attributes:
        as_of: The day they were looked up.
        models: Model name to price.
    """

    as_of: str
    models: Mapping[str, Price]

    def price_of(self, model: str) -> Price | None:
        """Return a model's price; a dated snapshot that is not listed takes its undated name's. None if unknown."""
        return self.models.get(model) or self.models.get(_DATE_ENDING.sub("", model))

    def cost_usd(self, model: str, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> float | None:
        """Return a call's cost in US dollars; None when the model's price is not known."""
        price = self.price_of(model)
        if price is None:
            return None
        fresh = prompt_tokens - cached_tokens
        return (fresh * price.input + cached_tokens * price.cached + completion_tokens * price.output) / TOKENS_PER_UNIT


class _PriceFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    as_of: str
    models: dict[str, Price]


def load_prices(path: Path | None = None) -> PriceList:
    """Load a price list; the shipped one when no path is given.

    Raises:
        SettingError: The file is missing or is not a price list.
    """
    file = path or SHIPPED
    try:
        source = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
        read = _PriceFile.model_validate(source)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise SettingError(f"the price list {file} cannot be read: {error}", f"write it like {SHIPPED}") from None
    return PriceList(read.as_of, read.models)
