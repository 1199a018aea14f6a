"""`teachback audit`: the review page, and the plans by which labels are drawn for it."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from teachback.cli import audit_plan, audit_suspects

__all__ = ["app"]

DEFAULT = "serve"


class _ServeByDefault(TyperGroup):
    """Takes `audit STORE` for `audit serve STORE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ServeByDefault,
    help="Review labels on a local page: `teachback audit STORE`. Plan a review, and estimate error rates from it.",
    no_args_is_help=True,
)


@app.command(DEFAULT)
def serve(
    store: Annotated[Path, typer.Argument(help="The store.")],
    reviewer: Annotated[str, typer.Option(help="Whose decisions; the page asks when not given.")] = "",
    blind: Annotated[bool, typer.Option("--blind", help="Hide the votes until the reviewer has decided.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; any free one when 0.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> None:
    """Serve the review page on this machine until Ctrl-C; works while a run writes.

    Example: teachback audit serve labels.duckdb --reviewer "Dr. Example"
    """
    from teachback.store.page.serve import serve as serve_page

    def opened(address: str) -> None:
        print(f"review page of {store}: {address}")
        print("It answers on this machine only, and to whoever has this address. Ctrl-C ends it.", flush=True)
        if not no_browser and sys.stdout.isatty():
            import webbrowser

            webbrowser.open(address)

    summary = serve_page(store, reviewer=reviewer, blind=blind, port=port, opened=opened)
    print(f"\n{summary.decisions:,} decisions in this session.", end=" ")
    print(
        f"{summary.undelivered:,} wait in {store}.inbox for the run that holds the store."
        if summary.undelivered
        else "All are in the store."
    )


app.command("plan")(audit_plan.plan)
app.command("estimate")(audit_plan.estimate)
app.command("suspects")(audit_suspects.suspects)
