"""A headless Chromium, driven through a pipe in its DevTools protocol; the standard library is all
it needs.

    with Browser() as browser:
        browser.resize(1440, 900, dark=True)
        browser.open(Path("report.html"))
        browser.run("document.title")

Reference:
    https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

__all__ = ["Browser", "binary"]

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]
WAIT = 120.0
"""Seconds after which a browser that does not answer is given up."""
PICTURED = 16_000
"""Pixels of a page's height that a picture holds at most."""


def binary() -> str | None:
    """The path of a Chromium on this machine; None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


class Browser:
    """One page of a browser.

    Attributes:
        requests: Addresses that the page asked for, but its own file and ``data:`` ones.
        errors: Texts of errors and warnings of its console.

    Raises:
        FileNotFoundError: If there is no Chromium.
        TimeoutError: If it does not answer.
    """

    def __init__(self) -> None:
        chromium = binary()
        if chromium is None:
            raise FileNotFoundError(
                "There is no chromium here: install it, such as by apt-get install chromium."
            )
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        child_reads, self._write = os.pipe()
        self._read, child_writes = os.pipe()
        command = [
            chromium,
            *FLAGS,
            f"--user-data-dir={self._folder.name}",
            "--remote-debugging-pipe",
            "about:blank",
        ]
        self._process = subprocess.Popen(
            [
                "sh",
                "-c",
                f'exec "$@" 3</dev/fd/{child_reads} 4>/dev/fd/{child_writes}',
                "sh",
                *command,
            ],
            pass_fds=(child_reads, child_writes),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(child_reads)
        os.close(child_writes)
        self._buffer, self._number, self._session, self._loaded = b"", 0, "", 0
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the browser."""
        self._process.kill()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)
        self._folder.cleanup()

    def send(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Send a command of the protocol, and return its result.

        Raises:
            RuntimeError: If the browser refuses.
        """
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": arguments}
        if self._session:
            message["sessionId"] = self._session
        data = memoryview(json.dumps(message).encode() + b"\0")
        while data:
            data = data[os.write(self._write, data) :]
        answer: dict[str, Any] = {}

        def is_answer(received: dict[str, Any]) -> bool:
            answer.update(received if received.get("id") == number else {})
            return bool(answer)

        self._receive(is_answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error'].get('message')}")
        result: dict[str, Any] = answer["result"]
        return result

    def _receive(self, is_last: Callable[[dict[str, Any]], bool]) -> None:
        end = time.monotonic() + WAIT
        while True:
            while b"\0" in self._buffer:
                data, self._buffer = self._buffer.split(b"\0", 1)
                message = json.loads(data)
                self._note(message)
                if is_last(message):
                    return
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            received = os.read(self._read, 1 << 20) if ready else b""
            if not received:
                raise TimeoutError(f"The browser did not answer within {WAIT:.0f} seconds.")
            self._buffer += received

    def _note(self, message: dict[str, Any]) -> None:
        kind, given = message.get("method"), message.get("params", {})
        if kind == "Page.loadEventFired":
            self._loaded += 1
        elif kind == "Network.requestWillBeSent":
            address = given["request"]["url"]
            if not address.startswith(("data:", "file:", "about:", "blob:")):
                self.requests.append(address)
        elif kind == "Runtime.exceptionThrown":
            self.errors.append(
                str(
                    given["exceptionDetails"]
                    .get("exception", {})
                    .get("description", given["exceptionDetails"])
                )
            )
        elif kind == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning", "assert"):
            self.errors.append(
                " ".join(str(part.get("value", part.get("description"))) for part in given["args"])
            )
        elif kind == "Log.entryAdded" and given["entry"]["level"] in ("error", "warning"):
            self.errors.append(given["entry"]["text"])

    def open(self, path: Path) -> None:
        """Load a file, and wait until everything in it is there."""
        before = self._loaded
        self.send("Page.navigate", url=path.resolve().as_uri())
        if self._loaded == before:
            self._receive(lambda _: self._loaded > before)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited.

        Raises:
            RuntimeError: If it throws.
        """
        result = self.send(
            "Runtime.evaluate",
            expression=script,
            returnByValue=True,
            awaitPromise=True,
            userGesture=True,
        )
        if "exceptionDetails" in result:
            raise RuntimeError(
                str(result["exceptionDetails"].get("exception", {}).get("description"))
            )
        return result["result"].get("value")

    def resize(
        self, width: int, height: int, *, dark: bool = False, motion: bool = False, media: str = ""
    ) -> None:
        """Set the window, the colours, whether things may move, and the medium ("print", or
        "" for a screen).
        """
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "no-preference" if motion else "reduce"},
        ]
        self.send("Emulation.setEmulatedMedia", media=media, features=features)

    def press(self, key: str) -> None:
        """Press a key where the focus is, such as ArrowRight."""
        codes = {
            "ArrowLeft": 37,
            "ArrowUp": 38,
            "ArrowRight": 39,
            "ArrowDown": 40,
            "Home": 36,
            "End": 35,
            "Tab": 9,
            "Escape": 27,
        }
        for kind in ("rawKeyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=codes.get(key, 0),
            )

    def click(self, selector: str, across: float = 0.5, down: float = 0.5) -> None:
        """Click into an element, at shares of its width and its height."""
        box = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); "
            "e.scrollIntoView({block: 'center', behavior:"
            " 'instant'}); const r = e.getBoundingClientRect(); return [r.x, r.y, r.width, "
            "r.height]; })()"
        )
        x, y = box[0] + across * box[2], box[1] + down * box[3]
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self, path: Path, whole: bool = False) -> None:
        """Write the window as PNG, or with ``whole`` the page down to 16,000 pixels."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        view = {
            "x": 0,
            "y": 0,
            "width": size["width"],
            "height": min(size["height"], PICTURED),
            "scale": 1,
        }
        more = {"clip": view, "captureBeyondViewport": True} if whole else {}
        data = self.send("Page.captureScreenshot", format="png", **more)["data"]
        path.write_bytes(base64.b64decode(data))
