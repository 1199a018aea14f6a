"""A prompt's body: its parts, its templates, and how a text enters it as data."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

from teachback.prompts.front_matter import ROLES, LintMessage

__all__ = ["ENVIRONMENT", "Part", "as_data", "body_errors", "split_body"]

PARTS = ("system", "user", "assistant")
# Whatever delimits something in a prompt; a text that enters it may begin none of these.
DELIMITERS = ("report", "example-report", "example-answer", "votes")

_PART_HEADING = re.compile(rf"^## ({'|'.join(PARTS)})[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Part:
    """One part of a body.

    Attributes:
        name: `system`, `user` or `assistant`.
        source: Its Jinja2 source.
        line: The line of the file on which the source begins.
    """

    name: str
    source: str
    line: int


def as_data(value: object, tag: str = "report") -> str:
    """Delimit text as data: `<tag>`, the text, `</tag>`, with every delimiter neutralised inside the text.

    A `<` that would begin one of the delimiters or `</tag` becomes `‹`, in whatever case and with whatever blanks,
    marks or invisible characters it is written, so the first closing delimiter is always ours, and no text brings a
    delimiter of another kind along.
    """
    tags = "|".join(re.escape(name) for name in sorted({tag, *DELIMITERS}))
    inside = re.sub(rf"<(?=[^\w<]*(?:{tags}))", "‹", str(value), flags=re.IGNORECASE)
    return f"<{tag}>\n{inside}\n</{tag}>"


def split_body(body: str, first_line: int) -> list[Part]:
    """Split a body at its headings; what stands before the first one is a part without a name.

    Args:
        body: The text below the front matter.
        first_line: The line of the file on which it begins.
    """
    pieces = _PART_HEADING.split(body)
    parts, line = [Part("", pieces[0], first_line)], first_line + pieces[0].count("\n")
    for name, source in zip(pieces[1::2], pieces[2::2], strict=True):
        parts.append(Part(name, source, line))
        line += source.count("\n")
    return parts


def body_errors(parts: list[Part], role: str, shows_examples: bool) -> list[LintMessage]:
    """Return what is wrong with a body, the causes first.

    Args:
        parts: Its parts, as `split_body` returns them.
        role: Whose prompt it is; one that is not known may use any variable.
        shows_examples: Whether the front matter asks for examples.
    """
    before, named = parts[0], parts[1:]
    if before.source.strip() or not named:
        return [_error(before.line, "its body must begin with a part", "head the parts with `## system` and `## user`")]
    if all(part.name != "user" for part in named):
        return [_error(named[-1].line, "it has no `## user` part", "add one with the report in it")]
    trees, problems = [], []
    for part in named:
        try:
            trees.append((part, ENVIRONMENT.parse(part.source)))
        except TemplateSyntaxError as error:
            what = f"its {part.name} part is not a Jinja2 template ({error.message})"
            problems.append(_error(part.line + error.lineno - 1, what, "mend it"))
        except TemplateError as error:
            problems.append(_error(part.line, f"its {part.name} part is not a Jinja2 template ({error})", "mend it"))
    if problems or role not in ROLES:
        return problems
    return list(_variable_errors(trees, role, shows_examples))


def _variable_errors(
    trees: list[tuple[Part, nodes.Template]], role: str, shows_examples: bool
) -> Iterator[LintMessage]:
    allowed = ROLES[role].variables
    used: set[str] = set()
    for part, tree in trees:
        unknown = find_undeclared_variables(tree) - allowed
        for name in sorted(unknown):
            line = next(node.lineno for node in tree.find_all(nodes.Name) if node.name == name)
            yield _error(
                part.line + line - 1,
                f"its {part.name} part uses the variable {name!r}, which nobody fills in",
                f"use only {', '.join(sorted(allowed))}",
            )
        used |= {node.name for node in tree.find_all(nodes.Name)}
        for line in _bare_reports(tree):
            yield _error(
                part.line + line - 1,
                "a report's text is used without `as_data`",
                'write {{ report | as_data("report") }}, so that the text cannot pass for instructions',
            )
    last = trees[-1][0].line
    if "report" not in used:
        yield _error(last, "it never shows the report", 'put {{ report | as_data("report") }} into its user part')
    if shows_examples and "examples" not in used:
        yield _error(last, "its front matter asks for examples, and its body never shows them", "loop over examples")
    if "examples" in used and "examples" in allowed and not shows_examples:
        yield _error(last, "its body shows examples, and its front matter names none", "add `examples: {source: pool}`")


def _bare_reports(tree: nodes.Template) -> list[int]:
    # Lines on which the report, or an example's, stands outside of `as_data`.
    wrapped = {
        id(node)
        for shielded in tree.find_all(nodes.Filter)
        if shielded.name == "as_data"
        for node in shielded.find_all((nodes.Name, nodes.Getattr, nodes.Getitem))
    }
    return [
        node.lineno
        for node in tree.find_all((nodes.Name, nodes.Getattr, nodes.Getitem))
        if _is_report(node) and id(node) not in wrapped
    ]


def _is_report(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Name):
        return node.name == "report"
    if isinstance(node, nodes.Getattr):
        return node.attr in ("report", "answer")
    return isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and node.arg.value == "report"


def _error(line: int, message: str, remedy: str) -> LintMessage:
    return LintMessage("error", line, message, remedy)


ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False
)
ENVIRONMENT.filters["as_data"] = as_data
