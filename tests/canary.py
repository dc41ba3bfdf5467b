"""A pytest plugin: the secrets of a whole test run are searched in everything that it wrote.

Every sandbox of the tests' own process has the login and key below. At the end of the run they
are looked for, in all the forms of :mod:`log_secrets`, in all files below pytest's temporary
folder (queues, sidecars, logs, the output of programs) and in what the tests printed and raised.
A find fails the run.

What has to hold them is left out: the sandbox's own catalogue, and credential files that a test
wrote for the program to read (those that it names to :func:`holds_secrets`).
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from log_secrets import forms_of

from megamax_sync.sandbox.account import Account

#: With all that is written differently by one encoding or another.
LOGIN = 'kanarien+"vogel"/größe@example.org'
KEY = "K4n4ri/en+Key=&%?~\\x9"

#: The sandbox has to know what it lets in.
_ITS_OWN = re.compile(rb"(^|/)catalogue\.db(-wal|-shm|-journal)?$")
_excused: set[bytes] = set()
_printed: list[str] = []
#: What the processes of a run in several have found.
_of_workers: list[str] = []


def holds_secrets(path: str | os.PathLike[str]) -> None:
    """Say that this file is there to hold credentials."""
    _excused.add(os.fsencode(path))


def canary_forms() -> list[bytes]:
    """All forms of login and key."""
    return [form.encode("utf-8", "surrogatepass") for form in forms_of(LOGIN) + forms_of(KEY)]


def search(folder: bytes, forms: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield each file below ``folder`` that holds one of the forms, or is called so, and which."""
    forms = list(forms)
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            if _ITS_OWN.search(path) or path in _excused:
                continue
            for form in forms:
                if form in name:
                    yield path, form
            yield from ((path, form) for form in _held(path, forms))


def _held(path: bytes, forms: list[bytes]) -> list[bytes]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return []
    try:
        with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as text:
            return [form for form in forms if text.find(form) >= 0]
    except (OSError, ValueError):
        # A pipe, or nothing in it.
        return []
    finally:
        os.close(fd)


@pytest.fixture(scope="session", autouse=True)
def _canaries() -> Iterator[None]:
    """Give every sandbox of this process the canaries, unless a test asks for its own."""
    remembered = Account._remembered

    def with_canaries(account: Account, name: str, given: str | None, fresh: str) -> str:
        return remembered(account, name, given, {"login": LOGIN, "key": KEY}.get(name, fresh))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Account, "_remembered", with_canaries)
        yield


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what a test printed, logged and raised, as far as it holds a canary."""
    text = "\n".join([report.longreprtext, *(content for _, content in report.sections)])
    found = [form for form in canary_forms() if form.decode("utf-8", "replace") in text]
    if found:
        _printed.append(f"{report.nodeid} ({report.when}): {found}")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a process of pytest-xdist has found; one that broke off found the worst."""
    output = getattr(node, "workeroutput", {})
    _of_workers.extend(output.get("canary", [f"{node.gateway.id} did not search what it wrote"]))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Search, and fail the run for a find."""
    factory = getattr(session.config, "_tmp_path_factory", None)
    if factory is None or session.config.option.collectonly:
        return
    found = list(_printed)
    if not session.config.pluginmanager.hasplugin("dsession"):
        # Else that is done by the processes that share the tests, each for its own folder.
        where = search(bytes(factory.getbasetemp()), canary_forms())
        found += [f"{path!r}: {form!r}" for path, form in where]
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        # One of several processes: the one that began them says it.
        output["canary"] = found
        return
    found += _of_workers
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line("")
        reporter.write_line(f"secrets of the tests in what they wrote: {len(found)}")
        for line in found[:50]:
            reporter.write_line(f"  {line}")
    if found:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
