"""Messages of the library, which name Python arguments, as the command line says them: `resize=32` becomes --resize 32."""

from __future__ import annotations

import re
import shlex

from pushforward.cli.terminal import app, typed

__all__ = ["as_options"]

_ARGUMENT = re.compile(r"`([a-z][a-z_]*)(?:=([^`\n]*))?`")
_NAMES = {"seconds": "--budget", "plugins": "--plugin", "trackers": "--track", "constraints": "--constraint"}
"""Options that are called otherwise than their arguments."""
_WHOLE = {
    "download=True": "--download",
    "fallback=True": "--fallback",
    "header=False": "--header no",
    "header=True": "--header yes",
    "labelled=False": "--condition none",
    "labelled=True": "--condition label",
    "overwrite=True": "--overwrite",
    "stream=True": "--stream",
    "table=False": "--table no",
    "table=True": "--table yes",
    "shard=False": "no --shard",
    "shard=True": "--shard",
}


def as_options(message: str) -> str:
    """A message with options instead of the arguments that stand between backticks; verbs and commands stay.

    Args:
        message: Such as "Choose another `out`, or add `overwrite=True`.".
    """
    verbs = set(app)
    return _ARGUMENT.sub(lambda match: match[0] if match[2] is None and match[1] in verbs else _option(match), message)


def _option(match: re.Match[str]) -> str:
    name, value = match[1], match[2]
    whole = _WHOLE.get(match[0].strip("`"))
    if whole is not None:
        return whole
    names = _NAMES | ({"checkpoint": "--from"} if typed[:1] == ["resume"] else {})
    option = names.get(name, f"--{name.replace('_', '-')}")
    return option if value is None else f"{option} {shlex.quote(value.strip('[]').strip(chr(34) + chr(39)))}"
