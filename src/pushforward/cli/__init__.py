"""The command line: one command per library function.

Results go to stdout, progress and errors to stderr. Exit codes: 0 success, 1 bug here or in a
plug-in, 2 wrong usage, 3 unusable data, 4 checkpoint or disk error, 5 training diverged, 6 out of
memory, 7 missing extra, 75 training stopped by SIGTERM, SIGHUP or SIGUSR1 after saving, 130 stopped
by Ctrl-C (training after saving). 143, 129 and 138: another command was stopped by SIGTERM, SIGHUP
or SIGUSR1, or training by a second signal.
"""

from pushforward.cli.entry import main
from pushforward.cli.options import app

__all__ = ["app", "main"]
