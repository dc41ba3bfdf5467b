"""``upload``: files that are handed in by name."""

from __future__ import annotations

import os

from cli.program import Program
from megamax_sync.sandbox import Fault, FaultScript, Sandbox


def test_it_waits_and_does_the_work_itself(program: Program, sandbox: Sandbox) -> None:
    """Without a daemon, --wait sends exactly these files, into the folder that was named."""
    outside = program.home / "outside"
    path = program.video(b"-odd \xff\n.mp4", folder=outside)
    program.video("watched.mp4")
    result = program.run("upload", path, "--folder", "7", "--wait")
    assert result.status == 0
    assert result.lines()[0].startswith("job 1 queued: ")
    (file,) = sandbox.files()
    assert file.folder == 7
    assert os.path.exists(path + b".megamax.json")
    again = program.run("upload", path)
    assert (again.status, "done already" in again.out) == (0, True)
    moved = program.run("upload", path, "--folder", "8")
    assert "its folder stays 7" in moved.out


def test_folders_are_expanded_by_the_rules(program: Program, sandbox: Sandbox) -> None:
    """A folder's videos, not what the rules leave out; a lower folder goes where it belongs."""
    outside = program.home / "outside"
    program.video("a.mp4", folder=outside)
    program.video("notes.txt", folder=outside)
    program.video("deep/b.mkv", folder=outside)
    program.video("anime/c.mp4")
    env = {"MEGAMAX_FOLDERS": "anime=12"}
    anime = program.watch / "anime"
    assert program.run("upload", "outside", str(anime), "--wait", env=env).status == 0
    assert sorted((file.name, file.folder) for file in sandbox.files()) == [
        ("a.mp4", None),
        ("b.mkv", None),
        ("c.mp4", 12),
    ]


def test_what_cannot_be_taken_is_named_and_nothing_is_enqueued(program: Program) -> None:
    """Exit 2, one line for each with its remedy, the good ones left as they are."""
    for name, size in {
        "good.mp4": 10,
        "empty.mp4": 0,
        "part.mp4.part": 10,
        "notes.txt": 10,
    }.items():
        program.video(name, size)
    (program.home / "none").mkdir()
    os.mkfifo(program.watch / "fifo.mp4")
    names = ["good.mp4", "empty.mp4", "part.mp4.part", "notes.txt", "gone.mp4", "fifo.mp4"]
    result = program.run("upload", *(str(program.watch / name) for name in names), "none")
    assert result.status == 2
    empty, unfinished, extension, gone, fifo, hollow = result.faults()
    assert "is empty" in empty
    assert "unfinished download" in unfinished
    assert "MEGAMAX_EXTENSIONS" in extension
    assert "No such file" in gone
    assert "no regular file" in fifo
    assert "holds no file" in hollow
    assert program.counts() == {}


def test_a_running_daemon_is_told(program: Program, sandbox: Sandbox) -> None:
    """It takes the file at once; --wait waits for it."""
    path = program.video("a.mp4", folder=program.home / "outside")
    with program.daemon() as daemon:
        result = program.run("upload", path)
        assert (result.status, len(result.lines())) == (0, 1)
        assert program.run("upload", path, "--wait").status == 0
        daemon.wait_for("job.done")
    assert len(sandbox.files()) == 1


def test_a_caller_without_the_settings_changes_nothing(program: Program, sandbox: Sandbox) -> None:
    """A torrent client knows the state folder at most: who sends decides where a file goes."""
    env = {
        "MEGAMAX_FOLDER": "12",
        "MEGAMAX_FOLDERS": "anime=15",
        "MEGAMAX_AFTER_DONE": f"move:{program.home / 'moved'}",
    }
    (program.home / "moved").mkdir()
    caller = {"MEGAMAX_WATCH": "", "MEGAMAX_FOLDER": "99"}
    outside = program.home / "outside"
    with program.daemon(env=env) as daemon:
        for name in ("x.mkv", "anime/x.mkv", "named.mkv"):
            # The watch, which sees it as well, is to wait for the caller.
            companion = program.video(f"{name}.aria2")
            path = program.video(name)
            to = ("--folder", "7") if name == "named.mkv" else ()
            assert program.run("upload", path, *to, env=caller).status == 0
            os.unlink(companion)
        elsewhere = program.video("elsewhere.mkv", folder=outside)
        assert program.run("upload", elsewhere, env=caller).status == 0
        for number in range(1, 5):
            daemon.wait_for("file.put_away", job=number)
    assert sorted((file.name, file.folder) for file in sandbox.files()) == [
        ("elsewhere.mkv", 12),
        ("named.mkv", 7),
        ("x.mkv", 12),
        ("x.mkv", 15),
    ]
    assert (program.home / "moved" / "anime" / "x.mkv").exists()


def test_without_a_daemon_it_says_so(program: Program) -> None:
    """The file is queued; the next run does it, though it lies in no watched folder."""
    path = program.video("a.mp4", folder=program.home / "outside")
    result = program.run("upload", path)
    assert "no instance is running" in result.lines()[-1]
    assert "is queued already" in program.run("upload", path).out
    assert program.counts() == {"queued": 1}
    assert program.run("upload", path, "--wait").status == 0


def test_a_failed_job_is_left_to_retry(program: Program, faults: FaultScript) -> None:
    """It says so, exit 1, and makes no second job."""
    faults.add("upload", Fault.status(415, "no video"))
    path = program.video("a.mp4")
    assert program.run("upload", path, "--wait").status == 1
    result = program.run("upload", path)
    assert (result.status, "retry 1" in result.out) == (1, True)
    assert program.counts() == {"failed": 1}


def test_a_forgotten_file_is_taken_again(program: Program) -> None:
    """Handing it in overrules the order to drop it."""
    path = program.video("a.mp4")
    assert program.run("upload", path, "--wait").status == 0
    program.run("forget", "1")
    assert program.run("upload", path).lines()[0].startswith("job 2 queued: ")


def test_a_linked_folder_is_one_folder(program: Program, sandbox: Sandbox) -> None:
    """A file that the watch knows by its link is not uploaded a second time."""
    real = program.home / "real"
    real.mkdir()
    link = program.home / "link"
    link.symlink_to(real)
    env = {"MEGAMAX_WATCH": str(link)}
    program.video("a.mp4", folder=link)
    assert program.run("--scan", env=env).status == 0
    for name in (link / "a.mp4", real / "a.mp4"):
        assert "done already" in program.run("upload", str(name), env=env).out
    assert "done already" in program.run("upload", str(real), env=env).out
    assert len(sandbox.files()) == 1
