"""Headless Chromium on the page, and what every test checks when it ends."""
from __future__ import annotations

import json
import os
import time
import unittest
from typing import Any
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import Select

from mock import Mock

URL = os.environ.get("WEIR_PAGE_URL")  # a real server's; else each test has a mock
PATIENCE = 60  # seconds after which something that has not happened is a failure
WIDE, NARROW = (1280, 800), (320, 640)
VIEWS = [(size, dark) for size in (WIDE, NARROW) for dark in (False, True)]

# Reports of the page's policy, errors that nobody caught, changes of the live region with their times.
WATCH = """
window.seen = {reports: [], errors: [], live: []};
document.addEventListener("securitypolicyviolation", e =>
    seen.reports.push(e.violatedDirective + " " + e.blockedURI + " " + e.sample));
window.addEventListener("error", e => seen.errors.push(e.message));
window.addEventListener("unhandledrejection", e => seen.errors.push(String(e.reason)));
document.addEventListener("DOMContentLoaded", () => {
    const live = document.querySelector("[aria-live=polite]");
    if (live) new MutationObserver(() => seen.live.push([performance.now(), live.textContent]))
        .observe(live, {childList: true, characterData: true, subtree: true});
});
"""

_driver: webdriver.Chrome | None = None


def driver() -> webdriver.Chrome:
    global _driver
    if _driver is None:
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en"):
            options.add_argument(argument)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")  # Chromium's own does not run as root
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        _driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        _driver.set_page_load_timeout(PATIENCE)
        _driver.set_script_timeout(PATIENCE)
        _driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        unittest.addModuleCleanup(close)
    return _driver


def close() -> None:
    global _driver
    if _driver is not None:
        _driver.quit()
        _driver = None


needs_mock = unittest.skipIf(URL, "needs answers that are known beforehand")


class PageTest(unittest.TestCase):
    mock: Mock | None = None

    def setUp(self) -> None:
        self.d = driver()
        self.d.get("about:blank")
        for log in ("performance", "browser"):
            self.d.get_log(log)
        self.url = URL
        self.expect_reports = False
        self.view(WIDE, False)

    def tearDown(self) -> None:
        """Whatever a test did: nothing left the origin, nothing was reported, nothing went wrong unseen."""
        reports = self.js("return window.seen ? [seen.reports, seen.errors] : [[], []]")
        if not self.expect_reports:
            self.assertEqual(reports, [[], []])
            noise = [m["message"] for m in self.d.get_log("browser") if m["source"] != "network"]
            self.assertEqual(noise, [])
        for url in self.requests():
            self.assertTrue(url.startswith("data:") or self.origin(url) == self.origin(self.url), url)
        if self.mock:
            self.mock.die()

    @staticmethod
    def origin(url: str) -> tuple[str, str]:
        return urlsplit(url)[:2]

    def requests(self) -> list[str]:
        messages = [json.loads(m["message"])["message"] for m in self.d.get_log("performance")]
        urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [u for u in urls if not u.startswith("about:")]

    # ---- the browser ----

    def view(self, size: tuple[int, int], dark: bool, calm: bool = False) -> None:
        self.d.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False})
        self.d.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if calm else "no-preference"}]})

    def open(self, fragment: str = "", wait: bool = True, **mock: Any) -> None:
        """The page of the real server, or of a mock; a second call opens the same one again."""
        if not self.url:
            self.mock = Mock(**mock)
            self.url = self.mock.url
        self.d.get("about:blank")
        self.d.get(self.url + fragment)
        if wait:
            self.until("return !document.getElementById('send').disabled")

    def js(self, code: str, *arguments: Any) -> Any:
        return self.d.execute_script(code, *arguments)

    def until(self, code: str, *arguments: Any) -> Any:
        end = time.monotonic() + PATIENCE
        while not (value := self.js(code, *arguments)):
            self.assertLess(time.monotonic(), end, f"never true: {code}")
            time.sleep(0.03)
        return value

    def at(self, id: str) -> Any:
        return self.d.find_element(By.ID, id)

    def all(self, selector: str) -> list[Any]:
        return self.d.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        code = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)"
        return self.js(code, selector)

    def keys(self, *keys: str) -> None:
        ActionChains(self.d).send_keys(*keys).perform()

    def focused(self) -> str:
        return self.js("return document.activeElement.id")

    # ---- the page ----

    def fill(self, id: str, text: str) -> None:
        box = self.at(id)
        box.send_keys(Keys.CONTROL, "a")
        box.send_keys(Keys.DELETE, text)

    def rule(self, name: str) -> None:
        Select(self.at("rule")).select_by_value(name)

    def tick(self, id: str, on: bool = True) -> None:
        box = self.at(id)
        if box.is_selected() != on:
            self.js("arguments[0].scrollIntoView({block: 'center'})", box)  # not below the sticky header
            box.click()

    def more(self) -> None:
        if not self.js("return document.getElementById('more').open"):
            self.d.find_element(By.CSS_SELECTOR, "#more summary").click()

    def begin(self, text: str) -> None:
        box = self.at("prompt")
        box.send_keys(text)
        box.send_keys(Keys.CONTROL, Keys.ENTER)

    def done(self) -> None:
        self.until("return document.getElementById('stop').hidden && !document.querySelector('.busy')")

    def ask(self, text: str) -> str:
        """Text of the last answer."""
        n = len(self.all(".answer"))
        self.begin(text)
        self.until("return document.querySelectorAll('.answer').length > arguments[0]", n)
        self.done()
        return self.texts(".answer .text")[-1]
