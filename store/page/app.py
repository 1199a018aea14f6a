"""The application: addresses, what they show, and what a reviewer's keys do."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import resources
from typing import Any, cast

import jinja2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from teachback.errors import TeachbackError
from teachback.store.label import FINDINGS, STATUSES, Task
from teachback.store.page import figures
from teachback.store.page.guard import Guard, Keys
from teachback.store.page.queue import REASONS, Filters, Item, ReviewQueue, standing
from teachback.store.page.report_view import view_report
from teachback.store.page.sight import Sight, Step
from teachback.store.page.sql_desk import SqlDesk
from teachback.store.queries import example_queries
from teachback.store.review.decisions import Decision

__all__ = ["AuditPage"]

LONGEST_PAUSE_S = 600.0  # a decision that took longer was not looked at all the time
NAME_COOKIE = "teachback_reviewer"
_VERDICT = re.compile(r"^(promoted|rolled back|not put to the gate):? *")  # how the reason of a decision begins


class AuditPage:
    """The review page of a store.

    Args:
        sight: The store.
        keys: The secrets of this start.
        port: Where it is served.
        reviewer: Whose decisions, unless the page is told otherwise; asked for when empty.
        blind: Whether votes are hidden until the decision.
    """

    def __init__(
        self,
        sight: Sight,
        keys: Keys,
        port: int,
        *,
        reviewer: str = "",
        blind: bool = False,
    ) -> None:
        self.sight = sight
        self.queue = ReviewQueue(sight)
        self.keys = keys
        self.reviewer = reviewer
        self.blind = blind
        self.started_at = time.time()
        self._desk = SqlDesk(sight.store)
        self._templates = _templates()
        self.app = Starlette(
            routes=[
                Route("/", lambda _: RedirectResponse("/review", 303)),
                Route("/review", self._review),
                Route("/next", self._next),
                Route("/decide", self._decide, methods=["POST"]),
                Route("/undo", self._undo, methods=["POST"]),
                Route("/reviewer", self._name, methods=["POST"]),
                Route("/state", self._state),
                Route("/labelers", self._page("labelers.html.jinja", lambda _: {"labelers": figures.labelers(sight)})),
                Route("/finding/{key:path}", self._page("finding.html.jinja", self._finding)),
                Route("/rounds", self._page("rounds.html.jinja", lambda _: figures.rounds_page(sight))),
                Route("/round/{key:path}", self._page("round.html.jinja", self._found(figures.round_page))),
                Route("/prompts", self._page("prompts.html.jinja", lambda _: {"prompts": figures.prompts(sight)})),
                Route("/prompt/{key:path}", self._page("prompt.html.jinja", self._found(figures.prompt_page))),
                Route("/reviewers", self._page("reviewers.html.jinja", self._reviewers)),
                Route("/sql", self._page("sql.html.jinja", self._sql)),
                Route("/sql/ask", self._ask, methods=["POST"]),
                Mount("/static", StaticFiles(packages=[("teachback.store.page", "static")])),
            ],
            middleware=[Middleware(Guard, keys=keys, port=port)],
            exception_handlers={HTTPException: self._wrong, TeachbackError: self._wrong},
        )

    # What every page has

    def _html(self, request: Request, template: str, status: int = 200, **told: Any) -> HTMLResponse:
        self.sight.look()
        shown = {
            "csrf": self.keys.csrf,
            "store": self.sight.store.name,
            "age": _age(self.sight.age_s),
            "reviewer": self._reviewer(request),
            "blind": self.blind,
            "here": request.url.path,
            "findings": FINDINGS,
            "statuses": STATUSES,
            "reasons": REASONS,
            "progress": self._progress(self._reviewer(request)),
        }
        return HTMLResponse(self._templates.get_template(template).render(shown | told), status)

    def _page(self, template: str, told: Callable[[Request], Mapping[str, Any]]) -> Callable[[Request], Response]:
        def show(request: Request) -> Response:
            return self._html(request, template, **told(request))

        return show

    def _found(self, read: Callable[[Sight, str], dict[str, Any] | None]) -> Callable[[Request], dict[str, Any]]:
        def told(request: Request) -> dict[str, Any]:
            found = read(self.sight, request.path_params["key"])
            if found is None:
                raise HTTPException(404, f"nothing in this store is called {request.path_params['key']}")
            return found

        return told

    def _wrong(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 400
        said = error.detail if isinstance(error, HTTPException) else str(error)
        if request.method == "POST":
            return JSONResponse({"error": said}, status)
        return self._html(request, "wrong.html.jinja", status, said=said)

    def _reviewer(self, request: Request) -> str:
        # Cookies are Latin-1 by their standard, names are not.
        given = request.cookies.get(NAME_COOKIE, "").encode("latin-1", "replace").decode("utf-8", "replace")
        return given or self.reviewer

    def _progress(self, reviewer: str) -> dict[str, Any]:
        sets = [step for step in standing(self.sight.steps()) if step.action == "set"]
        mine = [step for step in sets if step.reviewer == reviewer]
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        taken = sorted(step.seconds for step in mine if step.seconds is not None)
        return {
            "all": len(sets),
            "mine": len(mine),
            "today": sum(step.at >= midnight for step in mine),
            "seconds": taken[len(taken) // 2] if taken else None,
            "undelivered": self.sight.undelivered,
        }

    # Reviewing

    def _review(self, request: Request) -> Response:
        filters, reviewer = _filters(request), self._reviewer(request)
        given = request.query_params
        item: Item | None
        if "report" in given:
            task, target = given.get("task", "findings"), given.get("target", "")
            item = self.queue.at(given.get("reason", filters.why), given["report"], task, target)
            item = item or Item(int(given.get("place") or -1), "", given["report"], task, target, None)
        else:
            item = self.queue.step(filters, reviewer)
        report = view_report(self.sight, self.queue, item.report_id, reviewer, blind=self.blind) if item else None
        if item is not None and report is None:
            raise HTTPException(404, f"no report of this store is called {item.report_id}")
        template = "review_main.html.jinja" if given.get("part") else "review.html.jinja"
        return self._html(
            request,
            template,
            item=item,
            report=report,
            filters=filters,
            counts=self.queue.counts(filters, reviewer),
            choices=self.queue.choices(),
            undoable=self._last(reviewer) is not None,
        )

    def _next(self, request: Request) -> Response:
        given = request.query_params
        filters, reviewer = _filters(request), self._reviewer(request)
        here = self.queue.at(
            given.get("reason", ""), given.get("report", ""), given.get("task", ""), given.get("target", "")
        )
        place = here.place if here else int(given.get("place") or -1)
        item = self.queue.step(filters, reviewer, place, forward=given.get("to") != "before")
        if item is None and given.get("to") != "before":
            item = self.queue.step(filters, reviewer)  # what was left out on the way
        if item is None:
            return JSONResponse({"done": True})
        return JSONResponse({"done": False, **asdict(item)})

    async def _decide(self, request: Request) -> Response:
        given = await _json(request)
        reviewer = self._reviewer(request)
        seconds = given.get("seconds")
        decision = Decision(
            report_id=str(given.get("report_id", "")),
            reviewer=reviewer,
            action=given.get("action", "set"),
            task=given.get("task"),
            target=given.get("target"),
            status=given.get("status"),
            icd10=given.get("icd10") or None,
            note=(str(given.get("note") or "").strip() or None),
            why=given.get("why") or None,
            accepts=given.get("accepts") or None,
            blind=self.blind,
            seconds=min(float(seconds), LONGEST_PAUSE_S) if isinstance(seconds, int | float) else None,
            plan_id=given.get("plan_id") or None,
        )
        if decision.action not in ("set", "skip", "note"):
            raise HTTPException(400, "a decision sets, skips or notes")
        if not self.sight.rows("SELECT 1 FROM reports WHERE report_id = ?", [decision.report_id]):
            raise HTTPException(404, f"no report of this store is called {decision.report_id}")
        self.sight.take([decision])
        return JSONResponse({"kept": decision.review_id, "reviewer": reviewer, "progress": self._progress(reviewer)})

    async def _undo(self, request: Request) -> Response:
        reviewer = self._reviewer(request)
        last = self._last(reviewer)
        if last is None:
            raise HTTPException(400, "there is nothing to undo")
        task = cast("Task | None", last.task)
        self.sight.take(
            [Decision(last.report_id, reviewer, "undo", task, last.target, undoes=last.review_id, blind=self.blind)]
        )
        where = {"report_id": last.report_id, "task": last.task, "target": last.target, "why": last.why}
        return JSONResponse({"undone": last.review_id, **where, "progress": self._progress(reviewer)})

    async def _name(self, request: Request) -> Response:
        name = str((await _json(request)).get("name", "")).strip()
        Decision("-", name, "skip")  # says what is wrong with it
        response = JSONResponse({"reviewer": name})
        value = name.encode().decode("latin-1")
        response.set_cookie(NAME_COOKIE, value, samesite="strict", httponly=True, max_age=30 * 24 * 3600)
        return response

    def _state(self, request: Request) -> Response:
        self.sight.look()
        reviewer = self._reviewer(request)
        return JSONResponse(
            {
                "age": _age(self.sight.age_s),
                "generation": self.sight.generation,
                "progress": self._progress(reviewer),
                "left": {why: left for why, (left, _) in self.queue.counts(_filters(request), reviewer).items()},
            }
        )

    def _last(self, reviewer: str) -> Step | None:
        mine = [step for step in standing(self.sight.steps()) if step.reviewer == reviewer]
        return max(mine, key=lambda step: step.at, default=None)

    # The other pages

    def _finding(self, request: Request) -> dict[str, Any]:
        if request.path_params["key"] not in FINDINGS:
            raise HTTPException(404, f"{request.path_params['key']} is no finding")
        return figures.finding_page(self.sight, request.path_params["key"])

    def _reviewers(self, _: Request) -> dict[str, Any]:
        steps = self.sight.steps()
        sets = [step for step in standing(steps) if step.action == "set"]
        people = [
            {
                "name": name,
                "decisions": sum(step.reviewer == name for step in sets),
                "blind": sum(step.reviewer == name and step.blind for step in sets),
            }
            for name in sorted({step.reviewer for step in steps})
        ]
        return {"people": people, "pairs": figures.pairs_of_reviewers(self.sight, steps)}

    def _sql(self, request: Request) -> dict[str, Any]:
        return {"query": request.query_params.get("q", ""), "examples": example_queries()}

    async def _ask(self, request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        given = await _json(request)
        query, form = str(given.get("query", "")), given.get("format", "table")
        if form in ("csv", "parquet"):
            read = self._desk.as_csv if form == "csv" else self._desk.as_parquet
            kind = "text/csv; charset=utf-8" if form == "csv" else "application/vnd.apache.parquet"
            return Response(await run_in_threadpool(read, query), media_type=kind)
        table = await run_in_threadpool(self._desk.table, query)
        return self._html(request, "table.html.jinja", table=table)


def _filters(request: Request) -> Filters:
    given = request.query_params
    return Filters(
        why=given.get("why", "") if given.get("why", "") in REASONS else "",
        target=given.get("only", ""),
        corpus=given.get("corpus", ""),
        split=given.get("split", ""),
        plan=given.get("plan", ""),
        second=given.get("second") == "1",
    )


async def _json(request: Request) -> dict[str, Any]:
    try:
        given = await request.json()
    except ValueError:
        raise HTTPException(400, "the request is no JSON") from None
    if not isinstance(given, dict):
        raise HTTPException(400, "the request is no JSON object")
    return given


def _templates() -> jinja2.Environment:
    folder = resources.files("teachback.store.page") / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = lambda value: "" if value is None else f"{value:,}"
    environment.filters["share"] = lambda value: "" if value is None else f"{value:.3f}".replace("0.", ".", 1)
    environment.filters["tail"] = lambda path: (path or "").rstrip("/").rsplit("/", 1)[-1]
    environment.filters["reason"] = lambda told: _VERDICT.sub("", told or "")
    environment.filters["verdict"] = _verdict
    environment.filters["percent"] = lambda value: "" if value is None else f"{value:.1%}"
    return environment


def _verdict(round_: Mapping[str, Any]) -> str:
    """Say what was decided of a round; its reason begins with that."""
    said = _VERDICT.match(round_["reason"] or "")
    return said[1] if said else "promoted" if round_["promoted"] else "not promoted"


def _age(seconds: float) -> str:
    for unit, length in (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
