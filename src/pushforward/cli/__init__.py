"""The command line: one verb per library function, thin.

Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 a bug, here or in a plug-in, 2 usage, 3 data,
4 checkpoint or disk, 5 diverged, 6 out of memory, 7 a missing extra, 75 training stopped after saving by SIGTERM, SIGHUP or
SIGUSR1, 130 stopped by Ctrl-C (training after saving), 143, 129 or 138 another verb stopped by these, or training by a second
of them.
"""

from pushforward.cli.entry import main
from pushforward.cli.options import app

__all__ = ["app", "main"]
