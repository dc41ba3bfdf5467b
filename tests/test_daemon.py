"""The daemon as a whole: at rest, stopped, killed, out of disk, and how it says how it is."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from upload.pipeline import Rig, rig, wait_for

from megamax_sync import control
from megamax_sync.daemon import Daemon
from megamax_sync.errors import StateFolderInUse
from megamax_sync.job import JobState
from megamax_sync.sandbox import Fault, Sandbox
from megamax_sync.stages import Stages
from megamax_sync.state import StateFolder
from megamax_sync.troubles import Problem

#: Runs a daemon that kills itself at one step of the journal, before or after writing it down.
DOOMED = """
import os, signal, sys, threading
from megamax_sync.config import load
from megamax_sync.daemon import Daemon
from megamax_sync.state import StateFolder
from megamax_sync.store.journal import Journal

step, written = sys.argv[1], sys.argv[2] == "written"
original = getattr(Journal, step)

def dies(self, *args):
    if written:
        original(self, *args)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(Journal, step, dies)
settings = load()
folder = StateFolder(settings.state_dir)
folder.make()
folder.lock()
Daemon(settings, folder).start()
threading.Event().wait()
"""


def count_steps(daemon: Daemon) -> Callable[[], int]:
    """Count the steps of all loops from now on."""
    steps = []

    def counted(step: Callable[[], float | None]) -> Callable[[], float | None]:
        def wrapped() -> float | None:
            steps.append(1)
            return step()

        return wrapped

    for loop in daemon.loops:
        setattr(loop, "step", counted(loop.step))  # noqa: B010 - mypy refuses a plain assignment
    return lambda: len(steps)


def own_threads() -> set[str]:
    """The threads that are not the sandbox's."""
    return {one.name for one in threading.enumerate() if not one.name.startswith("sandbox")}


def open_files() -> int:
    """How many descriptors this process has open."""
    return len(open_paths())


def open_paths() -> list[str]:
    """What this process has open."""
    paths = []
    for fd in os.listdir("/proc/self/fd"):
        # The descriptor of the listing itself is gone by now.
        with contextlib.suppress(OSError):
            paths.append(os.readlink(f"/proc/self/fd/{fd}"))
    return paths


def test_at_rest_no_loop_turns(tmp_path: Path) -> None:
    """With nothing to do the loops wait, with all their files done and with none."""
    with rig(tmp_path) as made:
        made.put("a.mp4")
        made.start()
        made.wait_done("a.mp4")
        assert not made.daemon.stopping.wait(0.3)
        steps = count_steps(made.daemon)
        requests = made.calls()
        assert not made.daemon.stopping.wait(1.0)
        assert steps() <= 4
        assert made.calls() == requests
        # They are at rest, not asleep.
        made.daemon.store.database.wake()
        wait_for(lambda: steps() >= 4)


def test_behind_a_closed_gate_no_loop_spins(tmp_path: Path) -> None:
    """While the service is away, and jobs wait, the loops look about once a second."""
    with rig(tmp_path) as made:
        made.faults.add("generate", Fault.status(503), None)
        made.faults.add("file", Fault.status(503), None)
        made.put("a.mp4")
        made.start(RETRY_SECONDS="0.8")
        wait_for(lambda: made.daemon.problem() is not None)
        steps = count_steps(made.daemon)
        assert not made.daemon.stopping.wait(1.0)
        assert steps() <= 50
        assert not any(pulse.stuck for pulse in made.daemon.pulses())


def test_a_twin_that_waits_for_the_other_does_not_spin(tmp_path: Path) -> None:
    """A worker that may not take the second of two twins waits for the first to end."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.hold(), 1)
        made.put("one/ep.mp4")
        made.put("two/ep.mp4")
        made.start()
        wait_for(lambda: made.calls("upload") == 1)
        steps = count_steps(made.daemon)
        assert not made.daemon.stopping.wait(0.7)
        assert steps() <= 20
        assert made.calls("upload") == 1
        made.faults.release()
        made.wait_done("one/ep.mp4", "two/ep.mp4")
        assert len(made.sandbox.files()) == 2


def test_failing_uploads_leak_nothing(tmp_path: Path) -> None:
    """After a hundred failed uploads as many files are open, and as many threads run, as before."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.reset(), None)
        made.put("a.mp4")
        made.put("b.mp4", size=5_000_000)
        made.start(RETRY_SECONDS="0.01")
        wait_for(lambda: made.calls("upload") >= 20)
        files, threads = open_files(), own_threads()
        wait_for(lambda: made.calls("upload") >= 120, 30)
        assert open_files() <= files + 4
        assert own_threads() == threads
        made.faults.clear()
        made.wait_done("a.mp4", "b.mp4")
        assert all(made.the_job(name).attempts == 0 for name in ("a.mp4", "b.mp4"))


def test_a_stopped_daemon_leaves_no_thread_and_no_file(tmp_path: Path) -> None:
    """A second daemon in one process finds it as the first one did."""
    with rig(tmp_path) as made:
        made.put("a.mp4")
        made.start()
        made.wait_done("a.mp4")
        assert made.stop()
        threads, files = own_threads(), open_files()
        made.put("b.mp4")
        made.start()
        made.wait_done("b.mp4")
        assert made.stop()
        assert own_threads() == threads
        # The sandbox keeps some connections, a few more or less.
        assert open_files() <= files + 2
        assert not (tmp_path / "state" / "control.sock").exists()
        made.start()


def test_a_stop_in_the_middle_of_a_stalled_upload_is_quick(tmp_path: Path) -> None:
    """Nobody reads the body, and still it ends within ten seconds; the job is queued again."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.stall(), 1)
        data = made.put("a.mp4", size=32 << 20)
        made.start(TIMEOUT_SECONDS="60")
        wait_for(lambda: any(one["sent"] for one in made.daemon.live()["uploads"]))
        assert made.daemon.live()["uploads"][0]["size"] == len(data)
        began = time.monotonic()
        assert made.stop()
        assert time.monotonic() - began < 10
        # We have ended it: nobody else is to blame.
        assert made.said("service.paused") == []
        assert made.said("upload.retry_scheduled") == []
        made.faults.clear()
        made.start()
        made.wait_done("a.mp4")
        assert len(made.remote(data)) == 1
        assert "queued" in [step.state for step in made.history("a.mp4")][1:]


def test_a_stop_while_the_answer_is_awaited_makes_no_second_copy(tmp_path: Path) -> None:
    """The body is out, the answer is not in: the next run looks it up."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.hold(), 1)
        data = made.put("a.mp4")
        made.start()
        made.wait_sent("a.mp4")
        assert made.stop(budget=1.0)
        assert made.said("service.paused") == []
        assert made.said("upload.retry_scheduled") == []
        made.start()
        wait_for(lambda: made.calls("files") >= 1)
        made.faults.release()
        made.wait_done("a.mp4")
        assert len(made.remote(data)) == 1
        assert made.calls("files") >= 1


@pytest.mark.parametrize("fault", [Fault.stall(), Fault.hold()])
def test_a_stop_leaves_the_jobs_error_as_it_was(tmp_path: Path, fault: Fault) -> None:
    """What went wrong with the file earlier is worth more than that we have stopped."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.status(500, "too odd"), 1)
        made.faults.add("upload", fault, 2)
        made.put("a.mp4", size=8 << 20)
        made.start()
        wait_for(lambda: made.calls("upload") == 2)
        assert "too odd" in (made.the_job("a.mp4").error or "")
        assert made.stop(budget=1.0)
        made.faults.add("upload", Fault.status(500), None)
        made.start(RETRY_SECONDS="3600")
        assert "too odd" in (made.the_job("a.mp4").error or "")


@pytest.mark.parametrize("call", ["generate", "file"])
def test_a_call_that_a_stop_ends_is_not_the_services_fault(tmp_path: Path, call: str) -> None:
    """Neither that for an upload URL, nor one about a file in conversion."""
    with rig(tmp_path, step=60) as made:
        made.faults.add(call, Fault.hold(), None)
        made.put("a.mp4")
        made.start()
        wait_for(lambda: made.calls(call) >= 1)
        assert made.stop(budget=1.5)
        assert made.said("service.paused") == []


@pytest.mark.parametrize(
    ("step", "when"),
    [
        ("begin", "written"),
        ("sending", "not written"),
        ("sending", "written"),
        ("sent", "not written"),
        ("sent", "written"),
        ("arrived", "not written"),
    ],
)
def test_a_kill_at_any_step_makes_no_second_copy(tmp_path: Path, step: str, when: str) -> None:
    """kill -9 at a step of the journal, start again: one copy, with its own sidecar."""
    with rig(tmp_path) as made:
        data = made.put("a.mp4")
        environ = {**os.environ, **made.environ, "MEGAMAX_LOG_LEVEL": "error"}
        doomed = subprocess.run(
            [sys.executable, "-c", DOOMED, step, when],
            env=environ,
            timeout=30,
            check=False,
            capture_output=True,
        )
        assert doomed.returncode == -signal.SIGKILL, doomed.stderr.decode()
        made.start(RETRY_SECONDS="0.2")
        made.wait_done("a.mp4")
        (copy,) = made.remote(data)
        assert len(made.sandbox.files()) == 1
        assert (made.sidecar("a.mp4") or {})["hashid"] == copy.hashid
        assert made.the_job("a.mp4").fingerprint is not None
        if step == "arrived":
            assert made.said("upload.rescued")
            assert made.said("upload.reconciled")
            assert made.calls("upload") == 1


def test_a_kill_loses_no_change_of_the_file(tmp_path: Path) -> None:
    """A file that was replaced while nobody ran is sent anew, and what arrived is an orphan."""
    with rig(tmp_path) as made:
        old = made.put("a.mp4")
        subprocess.run(
            [sys.executable, "-c", DOOMED, "arrived", "not written"],
            env={**os.environ, **made.environ, "MEGAMAX_LOG_LEVEL": "error"},
            timeout=30,
            check=False,
            capture_output=True,
        )
        new = made.put("a.mp4", size=2500)
        made.start(RETRY_SECONDS="0.2")
        wait_for(lambda: made.remote(new))
        made.wait_done("a.mp4")
        assert len(made.remote(old)) == len(made.remote(new)) == 1
        (orphan,) = made.daemon.store.journal.orphans()
        assert orphan.hashid == made.remote(old)[0].hashid
        assert (made.sidecar("a.mp4") or {})["hashid"] == made.remote(new)[0].hashid


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The state folder on a disk of its own, of one and a half MiB."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1536k,mode=700", "tmpfs", str(folder)]
    try:
        made = subprocess.run(mount, check=False, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if made.returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte free; return the file that takes the room."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


def test_a_full_disk_under_the_queue_loses_nothing(tmp_path: Path, small_disk: Path) -> None:
    """An upload that arrives while nothing can be written down is not sent again."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.hold(), 1)
        data = made.put("a.mp4")
        made.start()
        made.wait_sent("a.mp4")
        ballast = fill(small_disk)
        made.faults.release()
        wait_for(lambda: made.daemon.problem() is not None)
        problem = made.daemon.problem()
        assert problem is not None
        assert problem.word == "disk-full"
        late = made.put("late.mp4")
        wait_for(made.sandbox.files)
        ballast.unlink()
        made.wait_done("a.mp4", "late.mp4")
        assert len(made.remote(data)) == len(made.remote(late)) == 1
        wait_for(lambda: made.daemon.problem() is None)


def test_an_end_with_nothing_to_do_is_quick(tmp_path: Path) -> None:
    """Also while somebody is connected to the control socket and asks nothing."""
    with rig(tmp_path) as made, socket.socket(socket.AF_UNIX) as client:
        daemon = made.start()
        wait_for(daemon.watcher.settled)
        client.connect(str(tmp_path / "state/control.sock"))
        wait_for(lambda: daemon._control._connection is not None)
        began = time.monotonic()
        assert made.stop()
        assert time.monotonic() - began < 0.7


def test_other_processes_can_ask_how_it_is(tmp_path: Path) -> None:
    """The control socket answers with what only the running daemon knows."""
    with rig(tmp_path) as made:
        made.start()
        path = str(tmp_path / "state" / "control.sock")
        live = control.ask(path, "live")
        assert live is not None
        assert live["pid"] == os.getpid()
        assert live["problem"] is None
        assert live["problem_detail"] is None
        assert live["observer"] == "inotify"
        assert live["uploads"] == []
        parts = {one["part"]: one["stuck"] for one in live["parts"]}
        assert parts == {
            "watcher": False,
            "comparer": False,
            "uploader-1": False,
            "uploader-2": False,
            "tracker": False,
            "keeper": False,
            "pruner": False,
        }
        seen = made.daemon.store.database.version
        assert control.ask(path, "wake") == {}
        assert made.daemon.store.database.version > seen


def test_a_missing_folder_is_a_problem_of_the_watch(tmp_path: Path) -> None:
    """A watched folder that is not there is said, and over once it is."""
    with rig(tmp_path) as made:
        made.drop.rmdir()
        made.start(RESCAN_SECONDS="0.2")
        wait_for(lambda: made.daemon.problem() is not None)
        problem = made.daemon.problem()
        assert isinstance(problem, Problem)
        assert problem.word == "watch"
        made.drop.mkdir()
        data = made.put("a.mp4")
        made.wait_done("a.mp4")
        assert made.daemon.problem() is None
        assert len(made.remote(data)) == 1


def test_an_error_nobody_expected_ends_no_loop_and_loses_no_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged, the loop goes on, and the job it was working on is sent in the end."""
    with rig(tmp_path) as made:
        data = made.put("a.mp4")
        broken = [RuntimeError("a bug")]
        original = Stages._client

        def client(self: Stages) -> object:
            made_client = original(self)
            upload = made_client.upload

            def once(*values: object, **names: object) -> object:
                if broken:
                    raise broken.pop()
                return upload(*values, **names)  # type: ignore[arg-type]  # passed on to the real method as they came

            made_client.upload = once  # type: ignore[assignment,method-assign]  # the first call fails on purpose, the next is the real one
            return made_client

        monkeypatch.setattr(Stages, "_client", client)
        made.start()
        made.wait_done("a.mp4")
        assert len(made.remote(data)) == 1
        assert made.said("loop.failed")


def test_a_scan_sends_what_is_there_and_does_not_follow_it_afterwards(tmp_path: Path) -> None:
    """Without an observer what comes later is left for the next run; done files are let be."""
    with rig(tmp_path, link_ttl=2) as made:
        made.put("a.mp4")
        made.scan()
        made.wait_done("a.mp4")
        assert made.daemon.live()["observer"] is None
        asked = made.calls()
        made.put("b.mp4")
        assert not made.daemon.stopping.wait(2.2)
        assert made.calls() == asked
        assert made.job("b.mp4") is None


def test_only_what_is_wanted_is_sent(tmp_path: Path) -> None:
    """A run for some files leaves the other jobs alone, and does not spin over them."""
    with rig(tmp_path) as made:
        made.put("a.mp4")
        made.put("b.mp4")
        settings = made.settings()
        folder = StateFolder(settings.state_dir)
        folder.make()
        folder.lock()
        daemon = Daemon(settings, folder, scan=True, under=[os.fsencode(made.drop / "b.mp4")])
        try:
            daemon.start()
            path = os.fsencode(made.drop / "b.mp4")

            def done() -> bool:
                job = daemon.store.jobs.latest(path)
                return job is not None and job.state is JobState.DONE

            wait_for(done)
            steps = count_steps(daemon)
            assert not daemon.stopping.wait(0.5)
            assert steps() <= 15
            assert len(made.sandbox.files()) == 1
            with pytest.raises(StateFolderInUse):
                StateFolder(settings.state_dir).lock()
        finally:
            assert daemon.stop()
            folder.unlock()


def test_a_daemon_that_cannot_be_built_closes_what_it_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error while the stages are made leaves no file open."""
    with rig(tmp_path) as made:
        settings = made.settings()
        folder = StateFolder(settings.state_dir)
        folder.make()

        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("no")

        monkeypatch.setattr("megamax_sync.daemon.Stages", broken)
        with pytest.raises(RuntimeError):
            Daemon(settings, folder)
        assert not [path for path in open_paths() if path.startswith(folder.path)]


def test_an_upload_host_that_is_probed_stays_a_problem_meanwhile(tmp_path: Path) -> None:
    """The only file is in the hands of the probe, so that none waits to be sent."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.lost_answer(), 1)
        made.faults.add("files", Fault.hold(), 1)
        made.put("a.mp4")
        made.start(TIMEOUT_SECONDS="60")
        wait_for(lambda: made.calls("files"))
        assert made.said("service.paused")
        assert made.daemon.live()["problem"] == "unreachable"
        made.faults.release()
        made.wait_done("a.mp4")
        wait_for(lambda: made.daemon.problem() is None)


def test_the_service_away_from_the_start_is_waited_for(tmp_path: Path) -> None:
    """Nobody listens at first; once somebody does, the file is sent without a restart."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with rig(tmp_path) as made:
        data = made.put("a.mp4")
        made.start(API_URL=f"http://127.0.0.1:{port}/api", LOGIN="me", KEY="secret-key")
        wait_for(lambda: made.daemon.problem() is not None)
        assert made.daemon.live()["problem"] == "unreachable"
        with Sandbox(tmp_path / "late", port=port, step=0.05, login="me", key="secret-key") as late:
            wait_for(lambda: made.state("a.mp4") is JobState.DONE, 15)
            (copy,) = late.files()
            assert copy.path.read_bytes() == data
            assert made.stop()


def test_the_rig_itself_sees_more_than_one_copy(tmp_path: Path) -> None:
    """The check that these tests rest on can fail: two uploads of one content are two copies."""
    with rig(tmp_path) as made:
        assert isinstance(made, Rig)
        made.sandbox.add_file("a.mp4", b"same")
        made.sandbox.add_file("b.mp4", b"same")
        assert len(made.remote(b"same")) == 2
