"""The command line: one verb per library function, thin.

Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 a bug, 2 usage, 3 data, 4 checkpoint or disk,
5 diverged, 6 out of memory, 7 a missing extra, 75 stopped by SIGTERM after saving, 130 by Ctrl-C after saving.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import CycloptsError

from pushforward.cli import listing, training, using
from pushforward.cli.terminal import app, say
from pushforward.errors import PushforwardError

__all__ = ["app", "listing", "main", "training", "using"]

EXAMPLES = """pushforward trains, samples and compares generative models.

  pushforward demo                                     four families on the same digits, and a report
  pushforward train flow --data digits --budget 60s    train one model
  pushforward sample runs/digits-flow --n 64 --out digits.png
  pushforward compare gan vae ddpm flow --data digits --budget 60s
  pushforward train flow --data ./photos --resize 32   your own images (or a .csv, .npy, .npz)

  pushforward --help lists all verbs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; no traceback reaches a user.

    Set PUSHFORWARD_TRACEBACK=1 to see where an error came from.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    code = _run(words)
    if arguments is None:
        sys.exit(code)
    return code


def _run(words: list[str]) -> int:
    if not words:
        print(EXAMPLES)
        return 0
    try:
        app(words, exit_on_error=False)
        if len(words) > 1 and words[0] == "train" and not words[1].startswith("-") and {"--help", "-h"} & set(words):
            training.recipe_help(words[1])
        return 0
    except CycloptsError:
        return 2
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:
        if os.environ.get("PUSHFORWARD_TRACEBACK"):
            raise
        return _explain(error)


def _explain(error: Exception) -> int:
    if isinstance(error, PushforwardError):
        say(f"error: {error}")
        return error.exit_code
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower() or "can't allocate memory" in str(error):
        say(f"error: out of memory ({str(error).splitlines()[0]}). Use a smaller --batch, --accumulate 2 or --size tiny.")
        return 6
    say(f"error: {type(error).__name__}: {error}\nThis is a bug in pushforward. PUSHFORWARD_TRACEBACK=1 shows where it happened.")
    return 1
