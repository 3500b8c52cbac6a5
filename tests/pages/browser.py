"""Headless Chromium over its debugging pipe (file descriptors 3 and 4): no driver, no socket, no package."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
FLAGS += " --disable-component-update --disable-sync --hide-scrollbars --remote-debugging-pipe about:blank"


class Browser:
    """One page. ``events`` keeps what the browser reported since the last ``open``."""

    def __init__(self, folder):
        to_it, self.send_to = os.pipe()
        self.read_from, from_it = os.pipe()
        start = 'exec "$@" 3<&"$IN" 4>&"$OUT"'
        command = ["bash", "-c", start, "bash", CHROMIUM, f"--user-data-dir={folder}", *FLAGS.split()]
        environment = os.environ | {"IN": str(to_it), "OUT": str(from_it), "HOME": str(folder)}
        self.log = open(Path(folder) / "log", "wb")
        self.process = subprocess.Popen(
            command, env=environment, pass_fds=(to_it, from_it), stdout=self.log, stderr=self.log
        )
        os.close(to_it)
        os.close(from_it)
        self.pipe, self.count, self.events, self.session = os.fdopen(self.read_from, "rb"), 0, [], None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.session = None
        self.call("Browser.close")
        self.process.wait(30)
        self.pipe.close()
        os.close(self.send_to)
        self.log.close()

    def call(self, method, **params):
        """Ask and wait for the answer; events that come before it are kept."""
        self.count += 1
        asked = {"id": self.count, "method": method, "params": params}
        os.write(
            self.send_to, json.dumps(asked | ({"sessionId": self.session} if self.session else {})).encode() + b"\0"
        )
        while (message := self.message()).get("id") != self.count:
            self.events.append(message)
        assert "error" not in message, message
        return message["result"]

    def message(self):
        """The next message, of any length."""
        body = bytearray()
        while (byte := self.pipe.read(1)) != b"\0":
            assert byte, "chromium ended"
            body += byte
        return json.loads(body)

    def open(self, path, width=1280, height=900, dark=False):
        """Load a file and wait until it is whole."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.call("Page.navigate", url=Path(path).resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.message())

    def js(self, expression):
        """Value of an expression, awaited when it is a promise."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key, code):
        """A key down and up."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def picture(self, path):
        """A PNG of the whole page."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def complaints(self):
        """Console errors and warnings, exceptions, and whatever the browser logged."""
        kinds = ("Runtime.exceptionThrown", "Log.entryAdded")
        said = [e for e in self.events if e.get("method") in kinds]
        return said + [
            e for e in self.events
            if e.get("method") == "Runtime.consoleAPICalled" and e["params"]["type"] in ("error", "warning", "assert")
        ]  # fmt: skip

    def requests(self):
        """Addresses that the page asked for."""
        return [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser for the tests of one file; without Chromium they are skipped."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: install Debian's chromium to run the browser tests")
    with Browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found
