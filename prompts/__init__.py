"""The prompts of the teachers and of the student, as files versioned by their content.

A prompt is `prompts/<role>/<name>.md`: YAML front matter (`role`, `task`, `schema`, `parameters`, `examples`, `note`),
then a Jinja2 body in parts headed `## system` and `## user`. The body is split into its parts before anything is filled
in, and a report enters through the filter `as_data`, so nothing that stands in a report can open a new part, close its
own delimiters, or run as a template.
"""

from teachback.prompts.body import as_data
from teachback.prompts.folder import PROMPTS_VARIABLE, PromptListing, list_prompts, load_prompt
from teachback.prompts.front_matter import ExampleSettings, LintMessage, Parameters, PromptSchema, PromptTask
from teachback.prompts.lint import lint_prompt
from teachback.prompts.prompt import Prompt, parse_prompt

__all__ = [
    "PROMPTS_VARIABLE",
    "ExampleSettings",
    "LintMessage",
    "Parameters",
    "Prompt",
    "PromptListing",
    "PromptSchema",
    "PromptTask",
    "as_data",
    "lint_prompt",
    "list_prompts",
    "load_prompt",
    "parse_prompt",
]
