"""What came of a campaign, for people: one self-contained HTML page, and the table that closes it in the terminal."""

from teachback.distill.report.page import write_report
from teachback.distill.report.terminal import print_campaign

__all__ = ["print_campaign", "write_report"]
