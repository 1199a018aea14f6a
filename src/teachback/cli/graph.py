"""`teachback graph`: a picture of the teacher graph."""

import json
from typing import Annotated

import typer

__all__ = ["graph"]


def graph(
    llm: Annotated[str, typer.Option(help="none, openai or stand-in: the members to draw.")] = "openai",
    as_mermaid: Annotated[bool, typer.Option("--mermaid", help="Print it as Mermaid, for a Markdown page.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print nodes, edges and members as JSON.")] = False,
) -> None:
    """Draw the teacher graph as it is wired. `langgraph dev` opens the same graph in LangGraph Studio.

    Example: teachback graph --mermaid > graph.mmd
    """
    from dataclasses import asdict

    from teachback.agents.assemble import TeacherSettings, assemble, choose_llm
    from teachback.agents.drawing import draw, links_of
    from teachback.agents.graph import build_graph
    from teachback.agents.settings import LLMSettings
    from teachback.agents.stand_in import stand_in_settings
    from teachback.agents.studio import MemoryCallCache
    from teachback.errors import SettingError

    if as_mermaid and as_json:
        raise SettingError("--mermaid and --json are both given", "give one of them")
    chosen = choose_llm(llm)
    endpoint = LLMSettings.from_env()
    if chosen == "stand-in":
        endpoint = stand_in_settings(endpoint)
    teachers = assemble(TeacherSettings(chosen, endpoint), MemoryCallCache()).teachers
    built = build_graph(teachers)
    links = links_of(built)
    if as_mermaid:
        print(built.get_graph().draw_mermaid(), end="")
    elif as_json:
        nodes = list(dict.fromkeys(name for link in links for name in (link.source, link.target)))
        members = [{"labeler_id": spec.labeler_id, **asdict(spec)} for spec in teachers.specs]
        print(json.dumps({"nodes": nodes, "edges": [asdict(link) for link in links], "members": members}, indent=2))
    else:
        print(draw(links))
        print()
        for spec in teachers.specs:
            print(f"{spec.kind:<12} {spec.name}  {spec.labeler_id}")
