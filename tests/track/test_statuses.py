"""What the service says of many files, in few calls. Pure: the calls are functions."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from megamax_sync.api.models import RemoteFile
from megamax_sync.errors import RemoteFileMissing, ServiceFault, ServiceUnreachable
from megamax_sync.job import FileStamp, Job, JobState
from megamax_sync.track.statuses import Statuses


def job(number: int, folder: int | None = None) -> Job:
    """A job in conversion, whose hashid is ``h`` and its number."""
    values: dict[str, object] = dict.fromkeys(Job.__dataclass_fields__)
    values |= {
        "id": number,
        "path": b"/drop/%d.mp4" % number,
        "state": JobState.PROCESSING,
        "stamp": FileStamp(1, 1, 1, 1, 1),
        "folder": folder,
        "hashid": f"h{number}",
    }
    return Job(**values)  # type: ignore[arg-type]  # the other fields do not matter here


class Service:
    """Answers from a table of hashid to status and folder; counts the calls."""

    def __init__(self, files: dict[str, tuple[str, int | None]], *, into_folders: bool) -> None:
        self.files = files
        self.into_folders = into_folders
        self.lists: list[tuple[int | None, str | None]] = []
        self.singles: list[str] = []
        self.failing: dict[str, Exception] = {}
        self.list_error: Exception | None = None
        #: The statuses whose lists fail; None for all.
        self.broken: set[str] | None = None

    def list_files(
        self, folder: int | None, status: str | None, keep: Callable[[RemoteFile], bool]
    ) -> list[RemoteFile]:
        """The list call."""
        self.lists.append((folder, status))
        if self.list_error is not None and (self.broken is None or status in self.broken):
            raise self.list_error
        listed = (
            RemoteFile(hashid=hashid, status=word)
            for hashid, (word, place) in self.files.items()
            if status in {None, word}
            and (place == folder or (folder is None and self.into_folders))
        )
        return [remote for remote in listed if keep(remote)]

    def get_file(self, hashid: str) -> RemoteFile:
        """The call for one file."""
        self.singles.append(hashid)
        if hashid in self.failing:
            raise self.failing[hashid]
        return RemoteFile(hashid=hashid, status=self.files[hashid][0])


def statuses(
    jobs: list[Job], service: Service, asking: Statuses | None = None
) -> dict[int, object]:
    """Ask, and reduce what was said to statuses, None, or errors."""
    said = (asking or Statuses(service.list_files, service.get_file)).ask(jobs)
    return {one.id: what.status if isinstance(what, RemoteFile) else what for one, what in said}


def test_a_few_files_are_asked_about_one_by_one() -> None:
    """Four files cost four calls, no list."""
    service = Service({f"h{n}": ("converting", None) for n in range(4)}, into_folders=True)
    assert set(statuses([job(n) for n in range(4)], service).values()) == {"converting"}
    assert not service.lists


def test_many_files_cost_one_list_for_each_status() -> None:
    """A hundred files in conversion cost four calls, and those that left it one each."""
    files: dict[str, tuple[str, int | None]] = {f"h{n}": ("onqueue", 7) for n in range(100)}
    files["h3"] = ("converted", 7)
    service = Service(files, into_folders=True)
    said = statuses([job(n, 7) for n in range(100)], service)
    assert said[3] == "converted"
    assert said[4] == "onqueue"
    assert len(service.lists) == 4
    assert service.singles == ["h3"]


def test_many_that_left_at_once_cost_one_more_list_as_long_as_that_is_short() -> None:
    """Of an account with very many files, those that have left are asked about one by one."""
    files: dict[str, tuple[str, int | None]] = {f"h{n}": ("converted", None) for n in range(100)}
    files |= {"h0": ("onqueue", None), "h1": ("failed", None)}
    service = Service(files, into_folders=True)
    asking = Statuses(service.list_files, service.get_file)
    said = statuses([job(n) for n in range(100)], service, asking)
    assert [said[n] for n in (0, 1, 2, 99)] == ["onqueue", "failed", "converted", "converted"]
    assert service.lists[-1] == (None, "converted")
    assert len(service.lists) == 5
    assert service.singles == ["h1"]
    files |= {f"old{n}": ("converted", None) for n in range(25_000)}
    statuses([job(n) for n in range(100)], service, asking)
    assert len(service.lists) == 10
    statuses([job(n) for n in range(100)], service, asking)
    assert len(service.lists) == 14
    assert len(service.singles) == 1 + 1 + 99


@pytest.mark.parametrize(
    "error", [ServiceFault("HTTP 500", answered=True), ServiceUnreachable("no answer")]
)
def test_the_list_of_what_is_converted_may_fail_alone(error: Exception) -> None:
    """Refused, or too long to be sent in time: the others hold, and it is not asked for again."""
    files: dict[str, tuple[str, int | None]] = {f"h{n}": ("onqueue", None) for n in range(50)}
    files |= {f"h{n}": ("converted", None) for n in range(50, 80)}
    service = Service(files, into_folders=True)
    service.list_error, service.broken = error, {"converted"}
    asking = Statuses(service.list_files, service.get_file)
    jobs = [job(n) for n in range(80)]
    for _ in range(2):
        assert statuses(jobs, service, asking)[79] == "converted"
    assert len(service.singles) == 2 * 30
    assert [status for _, status in service.lists].count("converted") == 1


def test_a_service_whose_list_leaves_folders_out_is_asked_for_the_folder() -> None:
    """Where a list without a folder shows only the top, the folders' lists are asked for too."""
    files: dict[str, tuple[str, int | None]] = {f"h{n}": ("onqueue", 7) for n in range(10)}
    files |= {f"h{n}": ("onqueue", 8) for n in range(10, 12)}
    service = Service(files, into_folders=False)
    jobs = [job(n, 7) for n in range(10)] + [job(n, 8) for n in range(10, 12)]
    assert set(statuses(jobs, service).values()) == {"onqueue"}
    assert {folder for folder, _ in service.lists} == {None, 7}
    assert sorted(service.singles) == ["h10", "h11"]


def test_a_file_that_the_service_denies_is_none_and_others_are_not_affected() -> None:
    """An unknown hashid, and an error for one file, say nothing about the next."""
    service = Service({f"h{n}": ("onqueue", None) for n in range(3)}, into_folders=True)
    fault = ServiceFault("HTTP 500", answered=True)
    service.failing = {"h0": RemoteFileMissing("404", answered=True), "h1": fault}
    assert statuses([job(n) for n in range(3)], service) == {0: None, 1: fault, 2: "onqueue"}


def test_one_file_without_an_answer_holds_up_no_other() -> None:
    """The call for it may be what the service chokes on."""
    service = Service({f"h{n}": ("onqueue", None) for n in range(4)}, into_folders=True)
    error = ServiceUnreachable("no answer")
    service.failing = {"h0": error, "h2": error}
    said = statuses([job(n) for n in range(4)], service)
    assert said == {0: error, 1: "onqueue", 2: error, 3: "onqueue"}


def test_no_answer_twice_in_a_row_is_raised() -> None:
    """A service that does not answer is in trouble as a whole, and not waited for file by file."""
    service = Service({}, into_folders=True)
    service.failing = {f"h{n}": ServiceUnreachable("no answer") for n in range(4)}
    with pytest.raises(ServiceUnreachable):
        statuses([job(n) for n in range(4)], service)
    assert service.singles == ["h0", "h1"]


@pytest.mark.parametrize(
    ("error", "raised"),
    [(ServiceFault("HTTP 500", answered=True), False), (ServiceUnreachable("none"), True)],
)
def test_a_list_that_is_refused_is_done_without(error: Exception, raised: bool) -> None:
    """A list call that answers with an error costs calls; one that does not answer is raised."""
    service = Service({f"h{n}": ("onqueue", None) for n in range(9)}, into_folders=True)
    service.list_error = error
    jobs = [job(n) for n in range(9)]

    def call() -> object:
        return statuses(jobs, service)

    if raised:
        with pytest.raises(ServiceUnreachable):
            call()
    else:
        call()
        assert len(service.singles) == 9
