"""The rule labeler: one of the teachers, without a key, a GPU or the network.

It gives the 13 findings of a report by readable rules (`agents/rules/`) and never a probability: rules have none.
"""

from collections.abc import Sequence

from teachback.agents.rules import Mention, RuleEngine, RuleSet, packaged_engine, packaged_ruleset
from teachback.store.label import Evidence, Label, Labeler, Status
from teachback.store.report import Report, Scope

__all__ = ["RuleLabeler"]

NO_CONFIDENCE = "rules give no probability"


class RuleLabeler:
    """Labels reports by rules.

    Args:
        scope: The sections to label from.
        ruleset: The rules; the package's own when left out.

    Attributes:
        spec: Who it is in the store: its version is the rule files' content.
        scope: The sections that it labels from.
    """

    def __init__(self, scope: Scope = "full", ruleset: RuleSet | None = None) -> None:
        self._engine = RuleEngine(ruleset) if ruleset else None
        version = (ruleset or packaged_ruleset()).version
        self.spec = Labeler("rule", "rule", version, parameters={"scope": scope})
        self.scope: Scope = scope
        self._labeler_id = self.spec.labeler_id

    @property
    def engine(self) -> RuleEngine:
        """What reads the text; the package's own is made when it is first needed, which takes a while."""
        return self._engine or packaged_engine()

    def verdicts(self, report: Report) -> dict[str, tuple[Status, tuple[Evidence, ...]]] | None:
        """Return each finding's status and evidence, or None when the report has no section of the scope."""
        sections = report.scoped(self.scope)
        return self.engine.label_sections(sections) if sections else None

    def mentions(self, report: Report) -> list[Mention]:
        """Return every mention in the report's scope, in reading order: also those that decide nothing."""
        sections = report.scoped(self.scope)
        return [mention for name, text in sections for mention in self.engine.mentions(name, text)]

    def label(self, report: Report) -> list[Label]:
        """Return one label a finding; none at all (it abstains) when the report has no section of the scope."""
        return self.label_sections(report.report_id, report.scoped(self.scope))

    def label_sections(self, report_id: str, sections: Sequence[tuple[str, str]]) -> list[Label]:
        """Return what `label` does, of a report's sections of the scope."""
        if not sections:
            return []
        return [
            Label(
                report_id,
                "findings",
                finding,
                status,
                self._labeler_id,
                self.scope,
                confidence_note=NO_CONFIDENCE,
                evidence=evidence,
            )
            for finding, (status, evidence) in self.engine.label_sections(sections).items()
        ]
