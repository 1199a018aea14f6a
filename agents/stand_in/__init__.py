"""The stand-in endpoint: what answers in place of a language model where there is no key, and says that it is none."""

from teachback.agents.stand_in.batches import BatchCourse
from teachback.agents.stand_in.mistakes import MistakeRates
from teachback.agents.stand_in.server import MODEL, RunningStandIn, serve, stand_in_endpoint, stand_in_settings

__all__ = ["MODEL", "BatchCourse", "MistakeRates", "RunningStandIn", "serve", "stand_in_endpoint", "stand_in_settings"]
