"""The table of transitions, stamps of files, and names as services leave them."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megamax_sync.errors import InvalidTransition
from megamax_sync.job import TRANSITIONS, FileStamp, JobState, check_transition, match_key


@pytest.mark.parametrize("old", JobState)
@pytest.mark.parametrize("new", JobState)
def test_only_the_table_leads_anywhere(old: JobState, new: JobState) -> None:
    """Every other move raises and names both states."""
    if new in TRANSITIONS[old]:
        check_transition(old, new)
    else:
        with pytest.raises(InvalidTransition, match=f"from {old} to {new}"):
            check_transition(old, new)


def test_final_states_are_left_by_orders_alone() -> None:
    """What is done stays done; what failed or was skipped can only go back to work.

    But a duplicate takes its original's upload over.
    """
    assert TRANSITIONS[JobState.DONE] == frozenset()
    ended = {JobState.DONE, JobState.FAILED, JobState.SKIPPED}
    for state in ended:
        heirs = {JobState.DONE} if state is JobState.SKIPPED else set()
        assert TRANSITIONS[state] & ended == heirs


def test_versions_are_told_by_size_time_and_inode() -> None:
    """A chmod, a hard link or a reboot makes no new version."""
    stamp = FileStamp(1, 2, 3, 4, 5)
    assert stamp.same_version(FileStamp(1, 2, 99, 99, 5))
    for other in (FileStamp(9, 2, 3, 4, 5), FileStamp(1, 9, 3, 4, 5), FileStamp(1, 2, 3, 4, 9)):
        assert not stamp.same_version(other)


def test_stamps_fit_the_queue(tmp_path: Path) -> None:
    """Inodes of 64 bits and times beyond 2262 are folded, and still tell files apart."""
    video = tmp_path / "a.mp4"
    video.write_bytes(b"abc")
    os.utime(video, ns=(0, 5))
    status = os.stat(video)
    stamp = FileStamp.of(status)
    assert (stamp.size, stamp.mtime_ns, stamp.ino) == (3, 5, status.st_ino)
    values = list(status[:10])
    values[1] = (1 << 64) - 1
    names = {"st_mtime_ns": 13_569_465_600 * 10**9, "st_ctime_ns": 7, "st_dev": 1 << 63}
    odd = os.stat_result(values, names)
    folded = FileStamp.of(odd)
    assert folded.ino == -1
    assert all(-(1 << 63) <= number < 1 << 63 for number in (folded.mtime_ns, folded.dev))


@pytest.mark.parametrize(
    ("ours", "listed"),
    [
        (b"MNCT EP 02 FHD.mp4", "MNCT EP 02 FHD"),
        (b"MNCT EP 02 .mp4", "MNCT_EP_02_.mp4"),
        (
            b"Wataten!: An Angel Flew Down To Me - Ep 13.mkv",
            "Wataten!: An Angel Flew Down To Me - Ep 13",
        ),
        (b'a"b.mp4', "a%22b.mp4"),
        (b"x\\y.mp4", "x_y.mp4"),
        (b"x\\y.mp4", "xy"),
        (b"Movie.2010.1080p.mkv", "Movie.2010.1080p"),
        (b"Movie.MKV", "movie.mkv"),
        ("Wintergärten.webm".encode(), unicodedata.normalize("NFD", "Wintergärten")),
        (unicodedata.normalize("NFD", "Café.mp4").encode(), "CAFÉ"),
        ("Straße.mp4".encode(), "STRASSE.mp4"),
        (b"\xff\xfe.mp4", "\ufffd\ufffd.mp4"),
        (b"a\xffb.mp4", "a\ufffdb"),
        (b"a\nb.mp4", "ab.mp4"),
    ],
)
def test_names_are_known_again(ours: bytes, listed: str) -> None:
    """The document's own names, and what PHP, browsers and file systems make of names."""
    assert match_key(ours) == match_key(listed)


@pytest.mark.parametrize(
    ("one", "other"),
    [(b"EP 01.mp4", "EP 02"), (b"!!!.mp4", "???.mp4"), (b"a.mp4", "b.mp4"), (b"\xff.mp4", "")],
)
def test_other_names_stay_others(one: bytes, other: str) -> None:
    """A name of punctuation alone keeps it, so that not all such names are one."""
    assert match_key(one) != match_key(other)


@given(st.binary(min_size=1, max_size=40))
def test_any_name_has_a_key_that_text_can_hold(name: bytes) -> None:
    """A key is valid Unicode, whatever bytes the name is made of."""
    match_key(name).encode()


@given(st.text("aB1 ._-é", min_size=1), st.sampled_from(["mp4", "MKV", "webm", "m2ts"]))
def test_a_cut_extension_changes_no_key(stem: str, extension: str) -> None:
    """Listed with its extension or without, it is the same name."""
    if stem.strip("._ "):
        assert match_key(f"x{stem}.{extension}") == match_key(f"x{stem}")
