"""The Jinja environment of chat templates: what transformers gives them, in a sandbox."""

import json
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.ext import Extension
from jinja2.nodes import Scope
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pi_cluster.transformer.text.guarded_text import GuardedText


class _GenerationBlock(Extension):
    """``{% generation %}``: where the model's own text stands, which only training asks for."""

    tags = {"generation"}  # noqa: RUF012  what Jinja reads

    def parse(self, parser: Parser) -> Scope:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return Scope(body, lineno=line)


def make_environment() -> ImmutableSandboxedEnvironment:
    """A new environment; templates of strangers may be compiled and run in it."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols", _GenerationBlock],
    )
    environment.filters["tojson"] = _to_json
    environment.filters["as_json"] = _as_json  # for our own templates
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes <, > and & for HTML, which no model was trained on.
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _as_json(value: Any) -> str:
    # As mistral-common takes arguments and results: what is JSON already is no text within JSON.
    return value.as_json() if isinstance(value, GuardedText) else _to_json(value)


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)
