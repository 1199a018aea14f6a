"""The teacher graph: which node follows which.

            +-> rule_labeler --+
    START --+                  +-> compare --(disagreements)--> adjudicator --> commit --> END
            +-> llm_labeler  --+         +--(agreement)-------------------------^

There may be more labelers than two: each has a node of its own. One invocation labels a chunk of reports: it costs
milliseconds, which over a chunk is nothing. There is no checkpointer, because resuming is a question to the store
(which reports is this teacher not done with?), and no tracing unless asked for, because a trace is a copy of the
reports somewhere else.
"""

import os
from typing import Literal, cast

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langsmith import tracing_context

from teachback.agents.labeler import Teachers
from teachback.agents.nodes import (
    ChunkInput,
    ChunkState,
    Sink,
    adjudicator_node,
    asking_labeler_node,
    commit_node,
    compare_node,
    local_labeler_node,
)

__all__ = ["TeacherGraph", "build_graph", "label_chunk"]

TRACING_VARIABLE = "TEACHBACK_TRACING"  # set to 1 to let LangSmith's own variables take effect

TeacherGraph = CompiledStateGraph[ChunkState, None, ChunkInput, ChunkState]


def build_graph(teachers: Teachers, sink: Sink | None = None) -> TeacherGraph:
    """Wire the teachers into a graph: a node for each labeler, and one for the adjudicator where there is one.

    Args:
        teachers: The members.
        sink: Where a finished chunk is kept; nowhere when not given, as in LangGraph Studio.
    """
    graph = StateGraph(ChunkState, input_schema=ChunkInput)
    names: list[str] = []
    for node, kind in [
        *((local_labeler_node(labeler), labeler.spec.kind) for labeler in teachers.local),
        *((asking_labeler_node(labeler), labeler.spec.kind) for labeler in teachers.asking),
    ]:
        name = f"{kind}_labeler"
        number = sum(known.startswith(name) for known in names) + 1
        names.append(name if number == 1 else f"{name}_{number}")
        graph.add_node(names[-1], node)
        graph.add_edge(START, names[-1])
    graph.add_node("compare", compare_node(teachers))
    graph.add_node("commit", commit_node(sink))
    graph.add_edge(names, "compare")
    if teachers.adjudicator:
        graph.add_node("adjudicator", adjudicator_node(teachers.adjudicator))
        graph.add_conditional_edges("compare", _route, {"disagreements": "adjudicator", "agreement": "commit"})
        graph.add_edge("adjudicator", "commit")
    else:
        graph.add_edge("compare", "commit")
    graph.add_edge("commit", END)
    return graph.compile(name="teacher")


async def label_chunk(graph: TeacherGraph, chunk: ChunkInput) -> ChunkState:
    """Send one chunk of reports through the graph.

    Args:
        graph: The graph.
        chunk: At least `reports`; `egress` too where reports may leave this machine.

    Returns:
        The state at the end.
    """
    traced = os.environ.get(TRACING_VARIABLE) == "1"
    with tracing_context(enabled=None if traced else False):
        return cast(ChunkState, await graph.ainvoke(chunk))


def _route(state: ChunkState) -> Literal["disagreements", "agreement"]:
    return "disagreements" if state["disputes"] else "agreement"
