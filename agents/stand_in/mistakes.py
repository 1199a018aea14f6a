"""The stand-in's seeded mistakes, and how sure it says it is.

Each mistake is a function of seed, report text and target alone, so the same request always gets the same answer. How
sure it says it is comes from two overlapping Beta distributions: where a mistake was planted it is lower on average
(mean 0.70 against 0.85), but neither bounds the other. Of the mistakes that its crude reading makes it knows nothing.
So its confidence is an honest but weak signal, as an LLM's is.
"""

import hashlib
import random
from dataclasses import dataclass, fields, replace

from teachback.errors import SettingError
from teachback.store.label import STATUSES, Status

__all__ = ["MistakeRates", "mistaken_status", "rng_for", "status_distribution"]

# Beta parameters of the confidence above one half: sure (mean 0.70 of the upper half) and unsure (mean 0.40 of it).
SURE = (3.5, 1.5)
UNSURE = (2.0, 3.0)


@dataclass(frozen=True)
class MistakeRates:
    """How often the stand-in gets wrong what it read, each a probability in [0, 1].

    Attributes:
        present_missed: A present finding called unmentioned.
        present_hedged: A present finding called uncertain.
        absent_omitted: An absent finding called unmentioned.
        absent_asserted: An absent finding called present.
        uncertain_asserted: An uncertain finding called present.
        unmentioned_asserted: An unmentioned finding called present.
        unmentioned_denied: An unmentioned finding called absent.
        disease_missed: A disease left out.
        disease_miscoded: A disease with a wrong code.
    """

    present_missed: float = 0.10
    present_hedged: float = 0.04
    absent_omitted: float = 0.08
    absent_asserted: float = 0.015
    uncertain_asserted: float = 0.35
    unmentioned_asserted: float = 0.015
    unmentioned_denied: float = 0.03
    disease_missed: float = 0.15
    disease_miscoded: float = 0.05

    def __post_init__(self) -> None:
        for field in fields(self):
            rate = getattr(self, field.name)
            if not 0 <= rate <= 1:
                raise SettingError(f"mistake rate {field.name} is {rate:g}", "give rates from 0 to 1")
        if self.present_missed + self.present_hedged > 1 or self.absent_omitted + self.absent_asserted > 1:
            raise SettingError("the mistake rates of one status exceed 1 together", "lower them")

    def scaled(self, factor: float) -> "MistakeRates":
        """Return all rates times a factor; 0 makes no mistakes beyond those of the crude reading."""
        if factor < 0:
            raise SettingError(f"mistakes cannot be scaled by {factor:g}", "give 0 or more")
        return replace(self, **{field.name: min(1.0, getattr(self, field.name) * factor) for field in fields(self)})


def rng_for(*parts: object) -> random.Random:
    """Return a generator seeded by content, the same in every process."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return random.Random(int.from_bytes(digest, "big"))


def mistaken_status(read: Status, rates: MistakeRates, rng: random.Random) -> Status:
    """Return the status that is said for one that was read."""
    slips: dict[Status, tuple[tuple[float, Status], ...]] = {
        "present": ((rates.present_missed, "unmentioned"), (rates.present_hedged, "uncertain")),
        "absent": ((rates.absent_omitted, "unmentioned"), (rates.absent_asserted, "present")),
        "uncertain": ((rates.uncertain_asserted, "present"),),
        "unmentioned": ((rates.unmentioned_asserted, "present"), (rates.unmentioned_denied, "absent")),
    }
    drawn = rng.random()
    for rate, said in slips[read]:
        if drawn < rate:
            return said
        drawn -= rate
    return read


def status_distribution(said: Status, read: Status, rng: random.Random) -> dict[Status, float]:
    """Return how sure the stand-in claims to be of each status; the one that it says is the likeliest."""
    confidence = 0.5 + 0.5 * rng.betavariate(*(SURE if said == read else UNSURE))
    others = [status for status in STATUSES if status != said]
    shares = [rng.random() + 0.1 + (1.0 if status == read else 0.0) for status in others]
    total = sum(shares)
    return {said: confidence} | {
        status: (1 - confidence) * share / total for status, share in zip(others, shares, strict=True)
    }
