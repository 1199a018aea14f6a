"""`teachback stand-in-llm`: an OpenAI-compatible endpoint on this machine that needs no key and no model."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from teachback.agents.stand_in import MistakeRates

__all__ = ["stand_in_llm"]


def stand_in_llm(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 chooses a free one.")] = 8123,
    seed: Annotated[int, typer.Option(help="Seed of its mistakes; a request always gets the same answer.")] = 0,
    latency_ms: Annotated[float, typer.Option(min=0, help="Milliseconds that it waits before each answer.")] = 0.0,
    mistakes: Annotated[float, typer.Option(min=0, help="Scales its documented mistake rates; 0 plants none.")] = 1.0,
) -> None:
    """Serve the stand-in: it answers chat completions with a crude reader and seeded mistakes, not with a model.

    Example: teachback stand-in-llm --port 8123 --seed 0
    """
    import asyncio

    from teachback.agents.stand_in import MistakeRates

    rates = MistakeRates().scaled(mistakes)
    try:
        asyncio.run(_serve(port, seed, latency_ms / 1000, rates))
    except KeyboardInterrupt:
        typer.echo("stopped")


async def _serve(port: int, seed: int, latency_s: float, rates: "MistakeRates") -> None:
    import asyncio

    from teachback.agents.stand_in import MODEL, serve

    running = await serve(port=port, seed=seed, rates=rates, latency_s=latency_s)
    typer.echo(f"{MODEL} (a crude reader with seeded mistakes, not a language model) serves on {running.url}")
    typer.echo(f"try it: curl {running.url}/models")
    typer.echo(
        f"use it: OPENAI_BASE_URL={running.url} teachback label labels.duckdb --llm openai --model {MODEL}\n"
        "stop it: Ctrl-C"
    )
    try:
        await asyncio.Event().wait()
    finally:
        await running.close()
