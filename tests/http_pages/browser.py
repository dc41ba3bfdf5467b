"""A real browser without a screen, as root and on loopback alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import axe_core_python  # type: ignore[import-untyped]  # the package has no types; only the path of its script is used
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

_FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--disable-dev-shm-usage --no-default-browser-check --hide-scrollbars "
    # Nothing is looked up outside of this machine.
    "--host-resolver-rules=MAP|*|~NOTFOUND,EXCLUDE|127.0.0.1,EXCLUDE|localhost"
)
_AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text("utf-8")


class Browser:
    """What the tests do with it."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def forget(self) -> None:
        """Leave the page of an earlier test, whose server is gone, and what was complained of."""
        self.driver.get("about:blank")
        self.log()

    def open(self, url: str) -> None:
        """Load a page."""
        self.driver.get(url)

    def one(self, selector: str) -> WebElement:
        """The first element of this CSS selector."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        """All elements of this CSS selector."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self) -> str:
        """What a person reads on the page."""
        return self.one("body").text

    def wait(self, condition: Callable[[], object], seconds: float = 15) -> None:
        """Wait until something holds; elements that have just gone count as not yet."""
        WebDriverWait(self.driver, seconds, 0.05).until(lambda _: _now(condition))

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page."""
        return self.driver.execute_script(script, *arguments)

    def log(self) -> list[str]:
        """What the browser complains of: scripts that fail, things that the policy forbids."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]  # selenium gives this method no types

    def window(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Look through a window of this size, with this theme."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        theme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": theme})

    def violations(self) -> list[str]:
        """What axe-core finds on this page, contrast included."""
        # Past the policy of the page, which lets no script in that is not its own.
        self.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": _AXE})
        found = self.driver.execute_cdp_cmd(
            "Runtime.evaluate",
            {
                "expression": "axe.run().then(r => JSON.stringify(r.violations))",
                "awaitPromise": True,
                "returnByValue": True,
            },
        )
        return [
            f"{one['id']}: {one['help']}: {[node['html'] for node in one['nodes']]}"
            for one in json.loads(found["result"]["value"])
        ]


def _now(condition: Callable[[], object]) -> bool:
    from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException

    try:
        return bool(condition())
    except (NoSuchElementException, StaleElementReferenceException):
        return False


@contextmanager
def browser(
    chromium: str, chromedriver: str, profile: Path, *, scripts: bool = True
) -> Iterator[Browser]:
    """Run a browser. ``scripts`` False: as somebody who has JavaScript off."""
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in _FLAGS.split():
        options.add_argument(flag.replace("|", " "))
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    if not scripts:
        content = {"profile.managed_default_content_settings.javascript": 2}
        options.add_experimental_option("prefs", content)
    driver = Chrome(options, Service(chromedriver))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
