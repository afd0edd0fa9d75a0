"""A headless Firefox, driven through a socket in its Marionette protocol; the standard library is
all it needs.

Reference:
    https://firefox-source-docs.mozilla.org/testing/marionette/Protocol.html
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

__all__ = ["Firefox", "binary"]

WAIT = 120.0
"""Seconds after which a browser that does not answer is given up."""
SETTINGS = {
    "marionette.port": 0,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
}


def binary() -> str | None:
    """The path of a Firefox on this machine; None where there is none."""
    return next((path for name in ("firefox", "firefox-esr") if (path := shutil.which(name))), None)


class Firefox:
    """One page of a browser, with the methods `open`, `run` and `close` of `browser.Browser`.

    Raises:
        FileNotFoundError: If there is no Firefox.
        TimeoutError: If it does not answer.
    """

    def __init__(self) -> None:
        firefox = binary()
        if firefox is None:
            raise FileNotFoundError(
                "There is no firefox here: install it, such as by apt-get install firefox-esr."
            )
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        profile = Path(self._folder.name)
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});"
            for name, value in SETTINGS.items()
        ]
        (profile / "user.js").write_text("\n".join(lines))
        command = [
            firefox,
            "--headless",
            "--no-remote",
            "--marionette",
            "--profile",
            str(profile),
            "about:blank",
        ]
        environment = {**os.environ, "HOME": str(profile)}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, env=environment, **quiet)
        self._socket = socket.create_connection(
            ("127.0.0.1", self._port(profile / "MarionetteActivePort")), timeout=WAIT
        )
        self._stream, self._number = self._socket.makefile("rb"), 0
        self._received()
        self.send("WebDriver:NewSession")
        self.send("WebDriver:SetTimeouts", script=round(1000 * WAIT))

    def _port(self, file: Path) -> int:
        end = time.monotonic() + WAIT
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                return int(file.read_text())
            time.sleep(0.1)
        self._process.kill()
        raise TimeoutError("Firefox did not start.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the browser."""
        self._process.kill()
        self._process.wait()
        self._stream.close()
        self._socket.close()
        self._folder.cleanup()

    def _received(self) -> Any:
        length = b""
        while not length.endswith(b":"):
            read = self._stream.read(1)
            if not read:
                raise TimeoutError("Firefox has closed the connection.")
            length += read
        return json.loads(self._stream.read(int(length[:-1])))

    def send(self, command: str, **arguments: Any) -> Any:
        """Send a command of the protocol, and return its result.

        Raises:
            RuntimeError: If the browser refuses.
        """
        self._number += 1
        message = json.dumps([0, self._number, command, arguments]).encode()
        self._socket.sendall(b"%d:%s" % (len(message), message))
        _, _, error, result = self._received()
        if error:
            raise RuntimeError(f"{command}: {error['message']}")
        return result

    def open(self, path: Path) -> None:
        """Load a file, and wait until everything in it is there."""
        self.send("WebDriver:Navigate", url=path.resolve().as_uri())

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited.

        Raises:
            RuntimeError: If it throws.
        """
        return self.send("WebDriver:ExecuteScript", script=f"return ({script})", args=[])["value"]
