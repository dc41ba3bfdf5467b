"""Each call of the document, over real sockets."""

from __future__ import annotations

import re
import time

import pytest
from sandbox_caller import Caller, running, wait_until

from megamax_sync.sandbox import Sandbox

LONG_DATE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
FILE_FIELDS = {"hashid", "name", "type", "size", "views", "poster", "status", "created_at"}


def names(caller: Caller, **parameters: str | int) -> list[str]:
    """The names in the account's list."""
    return [each["name"] for each in caller.result("file/get", **parameters)]


def test_file_has_the_documents_fields_and_formats() -> None:
    """``file/get/{hashid}`` answers all fields of the document, the name without extension."""
    with running(Sandbox()) as caller:
        record = caller.sandbox.add_file("MNCT EP 02 FHD.mp4", b"12345", created_at=1681528521.5)
        found = caller.result(f"file/get/{record.hashid}")
    assert found == {
        "hashid": record.hashid,
        "name": "MNCT EP 02 FHD",
        "type": "video",
        "size": 5,
        "views": 0,
        "poster": found["poster"],
        "status": "converted",
        "created_at": "2023-04-15T03:15:21.000000Z",
    }
    assert re.fullmatch(r"\w+\.jpg", found["poster"])


def test_list_is_newest_first_over_all_folders() -> None:
    """Without a folder the list has the files of every folder, newest first."""
    with running(Sandbox()) as caller:
        for moment, folder in ((100.0, None), (300.0, 7), (200.0, 8)):
            caller.sandbox.add_file(f"at {moment:.0f}.mkv", b"x", folder=folder, created_at=moment)
        assert names(caller) == ["at 300", "at 200", "at 100"]
        assert set(caller.result("file/get")[0]) == FILE_FIELDS


def test_list_filters_by_folder_and_status() -> None:
    """The folder and the status narrow the list; empty ones do not."""
    with running(Sandbox()) as caller:
        caller.sandbox.add_file("one.mkv", b"x", folder=7, status="failed")
        caller.sandbox.add_file("two.mkv", b"x", folder=7)
        caller.sandbox.add_file("three.mkv", b"x", folder=8)
        assert names(caller, folder=7) == ["two", "one"]
        assert names(caller, status="failed") == ["one"]
        assert names(caller, folder=7, status="converted") == ["two"]
        assert names(caller, folder=9) == []
        assert names(caller, folder="", status="") == ["three", "two", "one"]
        assert names(caller, folder="null") == ["three", "two", "one"]


@pytest.mark.parametrize("parameters", [{"folder": "x"}, {"folder": "-1"}, {"status": "nope"}])
def test_bad_filters_are_refused(parameters: dict[str, str]) -> None:
    """A folder that is no number, and a status that the document lacks, get 422."""
    with running(Sandbox()) as caller:
        response = caller.call("file/get", **parameters)
    assert response.status_code == 422
    assert response.json()["status"] == "error"


def test_ten_thousand_files_are_listed_quickly() -> None:
    """A list of 10,000 files takes less than a second."""
    with running(Sandbox()) as caller:
        record = caller.sandbox.add_file("a.mp4", b"x")
        account = caller.sandbox._running()
        kept = account.catalogue.get(record.hashid)
        assert kept is not None
        db = account.catalogue._db
        db.execute("BEGIN")
        db.executemany(
            "INSERT INTO file SELECT NULL, ?, name, mime_type, size, folder, poster, created_at,"
            " pinned, pinned_at, views FROM file WHERE hashid = ?",
            [(f"copy{number}", record.hashid) for number in range(9_999)],
        )
        db.execute("COMMIT")
        took = []
        for _ in range(3):
            start = time.monotonic()
            assert len(caller.result("file/get")) == 10_000
            took.append(time.monotonic() - start)
        # The best of them: the machine may have other work.
        assert min(took) < 1


CALLS = ("file/get", "file/get/x", "file/get/x/direct", "file/upload/generate", "mirror/get/x")


@pytest.mark.parametrize("path", CALLS)
@pytest.mark.parametrize("wrong", [{"login": "x"}, {"key": "x"}, {"login": ""}, {"key": "é"}])
def test_wrong_credentials_get_401(path: str, wrong: dict[str, str]) -> None:
    """Each call refuses a wrong or missing login or key, with the envelope."""
    with running(Sandbox()) as caller:
        response = caller.call(path, **wrong)
    assert response.status_code == 401
    assert response.json() == {"status": "error", "message": "Wrong login or key.", "result": None}


@pytest.mark.parametrize("path", ["file/get/x", "file/get/x/direct", "mirror/get/x"])
def test_an_unknown_hashid_gets_404(path: str) -> None:
    """A hashid that nobody has is not found."""
    with running(Sandbox()) as caller:
        response = caller.call(path)
    assert (response.status_code, response.json()["status"]) == (404, "error")


def test_unknown_paths_and_methods_get_the_envelope() -> None:
    """404 and 405 look like all other errors, also where a slash is too many."""
    with running(Sandbox()) as caller:
        base = caller.sandbox.api_url
        answers = [
            (caller.http.get(f"{base}/nothing"), 404),
            (caller.http.get(f"{base}/file/get/"), 404),
            (caller.http.put(f"{base}/file/get"), 405),
            (caller.http.get(caller.url()), 405),
        ]
    for response, status in answers:
        assert response.status_code == status
        assert response.json()["status"] == "error"
        assert response.json()["result"] is None


@pytest.mark.parametrize("path", ["file/get", "file/upload/generate"])
def test_calls_may_be_posts_with_a_form(path: str) -> None:
    """The document allows POST; credentials may then be form fields of either kind."""
    with running(Sandbox()) as caller:
        url = f"{caller.sandbox.api_url}/{path}"
        plain = caller.http.post(url, data=caller.credentials)
        multipart = caller.http.post(url, data=caller.credentials, files={"x": b"y"})
        query = caller.http.post(url, params=caller.credentials)
        wrong = caller.http.post(url, data={"login": "x", "key": "y"})
    assert [each.status_code for each in (plain, multipart, query, wrong)] == [200, 200, 200, 401]


def test_answers_have_a_date() -> None:
    """The service's clock is in each answer."""
    with running(Sandbox()) as caller:
        assert "date" in caller.call("file/get").headers


def test_statuses_advance_by_time() -> None:
    """A file passes the document's statuses in order, and stays converted."""
    with running(Sandbox(step=0.15)) as caller:
        hashid = caller.upload().json()["result"]["hashid"]
        seen: list[str] = []

        def converted() -> bool:
            status = caller.result(f"file/get/{hashid}")["status"]
            if status not in seen:
                seen.append(status)
            return bool(status == "converted")

        wait_until(converted)
    assert seen == ["onqueue", "transferring", "processing", "converting", "converted"]


def test_a_pinned_status_stays_until_it_is_let_go() -> None:
    """``set_status`` fixes any word; ``None`` lets time decide again."""
    with running(Sandbox(step=0)) as caller:
        hashid = caller.upload().json()["result"]["hashid"]
        caller.sandbox.set_status(hashid, "dreaming")
        assert caller.result(f"file/get/{hashid}")["status"] == "dreaming"
        caller.sandbox.set_status(hashid, None)
        assert caller.result(f"file/get/{hashid}")["status"] == "converted"
        with pytest.raises(KeyError):
            caller.sandbox.set_status("nobody", "failed")


def test_mirrors_come_after_the_conversion() -> None:
    """There is an empty list before, then one group with the document's drivers and forms."""
    with running(Sandbox(step=1000)) as caller:
        hashid = caller.upload().json()["result"]["hashid"]
        assert caller.result(f"mirror/get/{hashid}") == []
        caller.sandbox.set_status(hashid, "converted")
        (group,) = caller.result(f"mirror/get/{hashid}")
        again = caller.result(f"mirror/get/{hashid}")
    assert again == [group]
    assert (group["title"], group["size"]) == ("source", 5)
    assert [each["driver"] for each in group["mirrors"]] == ["ok", "uptobox", "streamlare"]
    assert [each["link"] is None for each in group["mirrors"]] == [True, False, False]
    for mirror in group["mirrors"]:
        assert mirror["iframe"].startswith("//")
        assert mirror["checked_at"] is None
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", mirror["uploaded_at"])


def test_mirrors_may_be_late() -> None:
    """``mirror_delay`` holds them back after the conversion."""
    with running(Sandbox(mirror_delay=60)) as caller:
        now = time.time()
        fresh = caller.sandbox.add_file("fresh.mp4", b"x", created_at=now)
        old = caller.sandbox.add_file("old.mp4", b"x", created_at=now - 61)
        assert caller.result(f"mirror/get/{fresh.hashid}") == []
        assert len(caller.result(f"mirror/get/{old.hashid}")) == 1


def test_direct_links_need_a_plan_and_a_conversion() -> None:
    """403 without a premium plan, 409 before the file is converted."""
    with running(Sandbox(premium=False)) as caller:
        record = caller.sandbox.add_file("a.mp4", b"x")
        refused = caller.call(f"file/get/{record.hashid}/direct")
    with running(Sandbox()) as caller:
        record = caller.sandbox.add_file("a.mp4", b"x", status="converting")
        early = caller.call(f"file/get/{record.hashid}/direct")
    assert (refused.status_code, refused.json()["status"]) == (403, "error")
    assert "premium" in refused.json()["message"]
    assert (early.status_code, early.json()["status"]) == (409, "error")


def test_direct_links_have_the_documents_form() -> None:
    """A label, the size, two signed links and when they expire."""
    with running(Sandbox(link_ttl=3600)) as caller:
        record = caller.sandbox.add_file("MNCT EP 02 é.mp4", b"12345")
        (link,) = caller.result(f"file/get/{record.hashid}/direct")
        base = caller.sandbox.api_url.removesuffix("/api")
    path = rf"{base}/attach/1/\d+/{record.hashid}/\S+\.mp4"
    assert (link["label"], link["size"]) == ("source", 5)
    assert re.fullmatch(rf"{path}\?signature=[0-9a-f]{{64}}", link["stream"])
    assert re.fullmatch(rf"{path}\?dl=1&signature=[0-9a-f]{{64}}", link["download"])
    assert re.fullmatch(LONG_DATE, link["expires_at"])


def direct(caller: Caller, data: bytes, name: str = "a.mp4") -> dict[str, str]:
    """The direct links of a new file."""
    record = caller.sandbox.add_file(name, data)
    links: dict[str, str] = caller.result(f"file/get/{record.hashid}/direct")[0]
    return links


@pytest.mark.parametrize(
    ("asked", "status", "got", "content_range"),
    [
        (None, 200, b"0123456789", None),
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
    ],
)
def test_direct_links_serve_ranges(
    asked: str | None, status: int, got: bytes, content_range: str | None
) -> None:
    """Whole files, ranges from either end, and 416 for what is not there."""
    with running(Sandbox()) as caller:
        stream = direct(caller, b"0123456789")["stream"]
        response = caller.http.get(stream, headers={"range": asked} if asked else {})
    assert response.status_code == status
    assert response.content == got
    assert response.headers.get("content-range") == content_range


def test_head_tells_the_size_only() -> None:
    """HEAD has the headers of GET and no body, and is no view."""
    with running(Sandbox()) as caller:
        response = caller.http.head(direct(caller, b"0123456789")["stream"])
        assert caller.sandbox.files()[0].views == 0
    assert response.status_code == 200
    assert response.headers["content-length"] == "10"
    assert response.headers["accept-ranges"] == "bytes"
    assert response.content == b""


def test_streams_are_inline_and_downloads_attachments() -> None:
    """``dl=1`` is an attachment under the file's own name; a stream is inline, and a view."""
    with running(Sandbox()) as caller:
        links = direct(caller, b"x", 'a "b" é.mkv')
        stream = caller.http.get(links["stream"])
        download = caller.http.get(links["download"])
        assert caller.sandbox.files()[0].views == 1
    quoted = "filename*=utf-8''a%20%22b%22%20%C3%A9.mkv"
    assert stream.headers["content-disposition"] == f"inline; {quoted}"
    assert stream.headers["content-type"] == "video/x-matroska"
    assert download.headers["content-disposition"] == f"attachment; {quoted}"


def test_a_link_that_was_tampered_with_is_refused() -> None:
    """The signature covers the file, the expiry and whether it is a download."""
    with running(Sandbox()) as caller:
        links = direct(caller, b"secret", "b.mp4")
        other = caller.sandbox.add_file("other.mp4", b"other")
        stream = links["stream"]
        hashid = stream.split("/")[6]
        tampered = [
            stream[:-1] + ("0" if stream[-1] != "0" else "1"),
            stream.split("?")[0],
            stream.replace("?", "?dl=1&"),
            stream.replace(hashid, other.hashid),
            stream.replace("/attach/1/", "/attach/1/9"),
            f"{stream.split('?')[0]}?signature=%ff",
        ]
        answers = [caller.http.get(url) for url in tampered]
        assert caller.http.get(stream).content == b"secret"
    assert [each.status_code for each in answers] == [403] * len(tampered)
    assert {each.json()["status"] for each in answers} == {"error"}


def test_an_expired_link_is_refused() -> None:
    """After its time a link gets 403."""
    with running(Sandbox(link_ttl=0.001)) as caller:
        response = caller.http.get(direct(caller, b"x")["stream"])
    assert response.status_code == 403
    assert "expired" in response.json()["message"]


def test_a_link_to_a_deleted_file_gets_404() -> None:
    """Deleting a file ends its links, its place in the list, and its bytes."""
    with running(Sandbox()) as caller:
        stream = direct(caller, b"x")["stream"]
        (record,) = caller.sandbox.files()
        caller.sandbox.delete(record.hashid)
        assert caller.http.get(stream).status_code == 404
        assert names(caller) == []
        assert not record.path.exists()
        with pytest.raises(KeyError):
            caller.sandbox.delete(record.hashid)
