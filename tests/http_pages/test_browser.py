"""The pages in a real browser: what a person sees, and can do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Keys
from upload.pipeline import rig

from http_pages.browser import Browser
from http_pages.site import TOKEN, Site, served, site
from megamax_sync.job import JobState

HOSTILE = "<img src=x onerror=alert(1)>.mp4"


def sign_in(eye: Browser, made: Site) -> None:
    """Come to the overview as one who may change things."""
    eye.driver.delete_all_cookies()
    eye.open(made.url)
    eye.one("#token").send_keys(TOKEN, Keys.ENTER)
    eye.wait(lambda: eye.one("#head"))


def test_the_first_visit(open_site: Site, eye: Browser) -> None:
    """Without anything set up it says that it is ready, what to do, and that it is live."""
    eye.forget()
    eye.open(open_site.url)
    assert eye.driver.title == "Overview · megamax-sync"
    assert "Drop a video into a watched folder" in eye.text()
    assert "MEGAMAX_HTTP_TOKEN" in eye.one("footer").text
    eye.wait(lambda: eye.one("#live").text == "Live")
    assert not eye.all("button:not([hidden])")
    assert eye.log() == []


def test_signing_in(kept_site: Site, eye: Browser) -> None:
    """A wrong token is said to be wrong; the right one leads to the page that was asked for."""
    eye.driver.delete_all_cookies()
    eye.open(f"{kept_site.url}/jobs?state=failed")
    eye.one("#token").send_keys("wrong", Keys.ENTER)
    eye.wait(lambda: eye.one("[role=alert]").text == "That is not the token.")
    eye.one("#token").send_keys(TOKEN, Keys.ENTER)
    eye.wait(lambda: eye.one("h1").text == "Jobs")
    assert eye.driver.current_url.endswith("/jobs?state=failed")
    assert eye.run("return document.cookie") == ""
    eye.one("header form button").click()
    eye.wait(lambda: eye.one("h1").text == "Sign in")


def test_an_upload_is_seen_while_it_happens(tmp_path: Path, eye: Browser) -> None:
    """A real file on its way to the sandbox: its progress, its conversion, its links; no reload."""
    # As slow as it has to be for a browser on a busy machine to look at it.
    with rig(tmp_path, step=1.5) as made, served(made, MIN_RATE="0", BWLIMIT="8M") as url:
        eye.forget()
        eye.open(url)
        eye.wait(lambda: eye.one("#live").text == "Live")
        eye.run("window.notReloaded = true; window.seen = []")
        eye.run(
            "new MutationObserver(() => { for (const bar of document.querySelectorAll('progress'))"
            " window.seen.push(bar.value); }).observe(document.body,"
            " {subtree: true, childList: true, attributes: true})"
        )
        made.put("Night Ferry.mkv", size=48 << 20)
        eye.wait(lambda: "Night Ferry.mkv" in eye.one("#sending").text, 30)
        eye.wait(lambda: "Night Ferry.mkv" in eye.one("#converting").text, 30)
        eye.wait(lambda: "Night Ferry.mkv" in eye.one("#done").text, 30)
        assert eye.run("return window.notReloaded")
        assert eye.run("return window.seen.length") > 0
        eye.one("#done a.name").click()
        eye.wait(lambda: "ok.ru" in (eye.one(".copy input").get_attribute("value") or ""))
        assert eye.log() == []


def test_progress_moves_and_the_focus_stays(kept_site: Site, eye: Browser) -> None:
    """What changes is changed in place: a link that has the focus keeps it."""
    job = kept_site.uploading("/media/a.mkv", size=1000)
    other = kept_site.failed("/media/b.mkv")
    kept_site.live["uploads"] = [{"job": job.id, "sent": 100, "size": 1000, "rate": 10.0}]
    sign_in(eye, kept_site)
    eye.run("document.querySelector('#sending a.name').focus()")
    kept_site.live["uploads"] = [{"job": job.id, "sent": 700, "size": 1000, "rate": 10.0}]
    eye.wait(lambda: "70 %" in eye.one("#sending").text)
    assert eye.one("progress").get_property("value") == 700
    assert eye.run("return document.activeElement.textContent") == "a.mkv"
    eye.open(f"{kept_site.url}/jobs/{job.id}")
    kept_site.live["uploads"] = [{"job": job.id, "sent": 900, "size": 1000, "rate": 10.0}]
    eye.wait(lambda: "90 %" in eye.one("#job").text)
    eye.open(f"{kept_site.url}/jobs/{other.id}")
    kept_site.store.orders.retry(other)
    eye.wait(lambda: "waiting" in eye.one("#job").text)
    eye.open(f"{kept_site.url}/jobs")
    kept_site.failed("/media/new.mkv")
    eye.wait(lambda: "new.mkv" in eye.one("#list").text)


def test_retrying_pausing_and_limiting(kept_site: Site, eye: Browser) -> None:
    """Each button does what it says, and the page then shows it."""
    job = kept_site.failed("/media/b.mkv", "the sidecar cannot be written")
    sign_in(eye, kept_site)
    assert "the sidecar cannot be written" in eye.one("#failed").text
    eye.one("#failed button").click()
    eye.wait(lambda: "Nothing has failed" in eye.one("#failed").text)
    assert kept_site.job(job.id).state is JobState.QUEUED
    eye.one(".headline button").click()
    eye.wait(lambda: "Uploads are paused" in eye.one("#head").text)
    assert kept_site.store.settings.paused
    eye.one(".headline button").click()
    eye.wait(lambda: "Uploads are paused" not in eye.one("#head").text)
    eye.one("#bwlimit").send_keys("08:00,2M 23:00,off", Keys.ENTER)
    eye.wait(lambda: "(set here)" in eye.one("#limit").text)
    assert kept_site.settings() == (False, "08:00,2M 23:00,off")
    eye.one("button[formaction*=config]").click()
    eye.wait(lambda: "(set here)" not in eye.one("#limit").text)
    assert kept_site.settings() == (False, None)
    eye.one("#bwlimit").send_keys("fast", Keys.ENTER)
    eye.wait(lambda: "no rate" in eye.text())


def test_copying_an_embed_code(open_site: Site, eye: Browser) -> None:
    """The button puts the code that a page needs into the clipboard, and says so."""
    job = open_site.done("/media/a.mkv")
    eye.driver.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": open_site.url},
    )
    eye.open(f"{open_site.url}/jobs/{job.id}")
    buttons = eye.all("button[data-copy]")
    assert len(buttons) == 5
    assert all(button.is_displayed() for button in buttons)
    buttons[0].click()
    eye.wait(lambda: eye.one("#said").text == "Copied")
    copied = eye.driver.execute_async_script(
        "navigator.clipboard.readText().then(arguments[0], e => arguments[0](String(e)))"
    )
    assert copied == (
        '<iframe src="https://ok.ru/videoembed/5937251879654" width="640" height="360" '
        'frameborder="0" allowfullscreen></iframe>'
    )
    eye.run("delete Navigator.prototype.clipboard")
    eye.all("button[data-copy]")[2].click()
    eye.wait(lambda: eye.one("#said").text == "Copied")
    links = [a.get_attribute("rel") for a in eye.all("#links a")]
    assert links
    assert set(links) == {"noopener noreferrer"}


def test_finding_one_of_a_hundred_thousand(open_site: Site, eye: Browser) -> None:
    """Searched, filtered and paged through, forth and back."""
    open_site.fill(100_000)
    open_site.failed("/media/Lost.mkv")
    eye.open(f"{open_site.url}/jobs")
    assert len(eye.all("tbody tr")) == 50
    assert "100\u202f001" in eye.one(".filters").text
    eye.one("[rel=next]").click()
    eye.wait(lambda: eye.all("[rel=prev]"))
    second = eye.one("tbody tr").text
    eye.one("[rel=next]").click()
    eye.wait(lambda: eye.one("tbody tr").text != second)
    eye.one("[rel=prev]").click()
    eye.wait(lambda: eye.one("tbody tr").text == second)
    eye.one("#q").send_keys("episode 77123", Keys.ENTER)
    eye.wait(lambda: len(eye.all("tbody tr")) == 1)
    assert "Episode 77123.mkv" in eye.one("tbody").text
    eye.one("#q").clear()
    eye.one("#q").send_keys("hash4242", Keys.ENTER)
    eye.wait(lambda: "Episode 4242.mkv" in eye.one("tbody").text)
    eye.open(f"{open_site.url}/jobs?state=failed")
    assert [one.text for one in eye.all("tbody .name")] == ["Lost.mkv"]
    eye.one("#q").send_keys("Episode", Keys.ENTER)
    eye.wait(lambda: "No job matches Episode" in eye.text())
    assert eye.one(".filters [aria-current]").text.startswith("Failed")


def test_a_hostile_name_is_text(kept_site: Site, eye: Browser) -> None:
    """In every place that a name is shown, also in what comes live, it is what the disk says."""
    sign_in(eye, kept_site)
    eye.log()
    eye.run("window.alert = () => { window.attacked = true }")
    job = kept_site.failed(f"/media/{HOSTILE}", f"cannot read {HOSTILE}")
    eye.wait(lambda: HOSTILE in eye.one("#failed").text)
    assert eye.all("main img") == []
    for path in ("/jobs", f"/jobs/{job.id}"):
        eye.open(kept_site.url + path)
        assert HOSTILE in eye.text()
        assert eye.all("main img") == []
    assert HOSTILE in eye.driver.title
    assert not eye.run("return window.attacked")
    assert eye.log() == []


def test_all_but_the_live_part_works_without_scripts(kept_site: Site, blind_eye: Browser) -> None:
    """Signed in, looked, searched, retried, paused: by links and forms alone."""
    eye = blind_eye
    job = kept_site.failed("/media/b.mkv")
    done = kept_site.done("/media/c.mkv")
    sign_in(eye, kept_site)
    assert not eye.one("#live").is_displayed()
    eye.one("#failed button").click()
    eye.wait(lambda: "Nothing has failed" in eye.one("#failed").text)
    assert kept_site.job(job.id).state is JobState.QUEUED
    eye.one(".headline button").click()
    eye.wait(lambda: "Uploads are paused" in eye.one("#head").text)
    eye.one("#bwlimit").send_keys("10M", Keys.ENTER)
    eye.wait(lambda: "(set here)" in eye.one("#limit").text)
    eye.open(f"{kept_site.url}/jobs")
    eye.one("#q").send_keys("c.mk", Keys.ENTER)
    eye.wait(lambda: len(eye.all("tbody tr")) == 1)
    eye.one("tbody .name").click()
    eye.wait(lambda: eye.driver.current_url.endswith(f"/jobs/{done.id}"))
    assert "ok.ru" in (eye.one(".copy input").get_attribute("value") or "")
    assert not any(button.is_displayed() for button in eye.all("button[data-copy]"))


def test_everything_is_reached_by_the_keyboard(kept_site: Site, eye: Browser) -> None:
    """In the order of the page, with the focus to be seen; the first stop skips the header."""
    kept_site.failed("/media/b.mkv")
    sign_in(eye, kept_site)
    eye.run("document.activeElement.blur()")
    stops = []
    for _ in range(40):
        eye.driver.switch_to.active_element.send_keys(Keys.TAB)
        said, outline = eye.run(
            "const e = document.activeElement; if (e === document.body) return ['', ''];"
            "return [e.getAttribute('aria-label') || e.textContent || e.id,"
            " getComputedStyle(e).outlineStyle]"
        )
        if not said:
            # Past the last one lies the browser itself.
            break
        assert outline != "none", said
        stops.append(said)
    wanted = ["Skip to the content", "Overview", "Jobs", "Sign out", "Pause uploads"]
    assert [stop for stop in stops if stop in wanted] == wanted
    assert {"bwlimit", "Set", "Retry b.mkv", "All: needs you"} <= set(stops)
    eye.open(kept_site.url)
    eye.driver.switch_to.active_element.send_keys(Keys.TAB, Keys.ENTER)
    assert eye.run("return document.activeElement.id") == "main"


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One of each."""
    with site(tmp_path_factory.mktemp("varied"), token=TOKEN) as made:
        made.failed("/media/films/a.mkv", "the sidecar cannot be written")
        made.done("/media/films/b.mkv")
        made.processing("/media/films/c.mkv")
        upload = made.uploading("/media/films/" + "long name " * 18 + ".mkv", size=1000)
        made.add("/media/films/e.mkv")
        made.live["uploads"] = [{"job": upload.id, "sent": 500, "size": 1000, "rate": 10.0}]
        made.live |= {"problem": "unreachable", "problem_detail": "no answer from api.megamax.me"}
        yield made


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_nothing_stands_in_anybodys_way(varied: Site, eye: Browser, width: int, dark: bool) -> None:
    """axe-core finds nothing on any page, and no page is wider than its window."""
    eye.window(width, dark=dark)
    eye.driver.delete_all_cookies()
    for path in ("/jobs/4", "/", "/jobs", "/jobs?q=nothing", "/jobs/1", "/jobs/2", "/x"):
        eye.open(varied.url + path)
        assert eye.violations() == [], path
        if eye.all("#token"):
            eye.one("#token").send_keys(TOKEN, Keys.ENTER)
            eye.wait(lambda: eye.one("#job"))
            assert eye.violations() == [], path
        assert eye.run("return document.documentElement.scrollWidth") <= width, path
    eye.window(1280)


def test_nothing_moves_for_those_who_want_it_so(varied: Site, eye: Browser) -> None:
    """prefers-reduced-motion ends every transition."""
    eye.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]},
    )
    eye.open(varied.url)
    moving = eye.run(
        "return [...document.querySelectorAll('*')].filter("
        "e => getComputedStyle(e).transitionDuration !== '0s'"
        " && getComputedStyle(e).transitionProperty !== 'none').length"
    )
    assert moving == 0
    eye.window(1280)
