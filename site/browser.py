"""A headless Chromium, driven over WebDriver (W3C) by its own driver."""

import json
import re
import subprocess
import tempfile
import time
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
LIMIT = 20


class Browser:
    """A browser with a profile of its own. It ends with `close`."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in self.driver.stdout:
            port = re.search(r"started successfully on port (\d+)", line)
            if port:
                break
        else:
            raise RuntimeError("chromedriver does not start")
        self.base = f"http://127.0.0.1:{port[1]}/session"
        # As root, as in a container, there is no other way than without the sandbox; the pages are our own.
        arguments = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-sandbox", f"--user-data-dir={self.folder.name}"]
        capabilities = {"browserName": "chrome", "goog:chromeOptions": {"args": arguments}, "goog:loggingPrefs": {"browser": "ALL"}}
        session = self.send("POST", "", {"capabilities": {"alwaysMatch": capabilities}})
        self.base += "/" + session["sessionId"]

    def close(self):
        try:
            self.send("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.communicate()
            self.folder.cleanup()

    def send(self, method, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        # Whatever proxy the machine has is not for loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, url):
        """Opens an address and waits until its page is loaded."""
        self.send("POST", "/url", {"url": url})

    def address(self):
        return self.send("GET", "/url")

    def run(self, script, *arguments):
        """What a script in the page returns."""
        return self.send("POST", "/execute/sync", {"script": script, "args": arguments})

    def until(self, script, *arguments):
        """Waits until a script returns something that is true: that."""
        end = time.monotonic() + LIMIT
        while not (value := self.run(script, *arguments)):
            if time.monotonic() > end:
                raise AssertionError(f"{self.address()}: never true: {script}")
            time.sleep(0.05)
        return value

    def element(self, selector):
        return self.send("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self.send("POST", f"/element/{self.element(selector)}/click", {})

    def type(self, selector, text):
        self.send("POST", f"/element/{self.element(selector)}/value", {"text": text})

    def size(self, width, height):
        """The size of the window that pages see."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.command("Emulation.setDeviceMetricsOverride", metrics)

    def prefers(self, scheme):
        """What the reader's system prefers: light or dark."""
        self.command("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def command(self, name, parameters):
        """What a page cannot ask for (Chrome DevTools Protocol)."""
        return self.send("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def errors(self):
        """What the console has had of errors since the last call."""
        return [entry["message"] for entry in self.send("POST", "/se/log", {"type": "browser"}) if entry["level"] == "SEVERE"]
