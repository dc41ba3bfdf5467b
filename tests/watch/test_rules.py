"""Which paths are wanted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from megamax_sync.config import load
from megamax_sync.wanted import rules as settings_rules
from megamax_sync.watch.rules import Folders, Rules, unwanted_always

ROOT = b"/w"


def rules(*exclude: str, **more: tuple[bytes, ...]) -> Rules:
    return Rules((ROOT,), frozenset({"mkv", "mp4"}), exclude, min_size=10, **more)


def rule(path: bytes, *exclude: str) -> str | None:
    unwanted = rules(*exclude).unwanted(path, ROOT)
    return unwanted.rule if unwanted else None


@pytest.mark.parametrize(
    "name",
    ["a.mkv", "A.MKV", "x/y/z.Mp4", 'it\'s "new"\n.mkv', "Show.f1.2021.mkv", "season.part/e.mkv"],
)
def test_videos_are_wanted(name: str) -> None:
    """Extensions count in any case, and no character in a name stands against it."""
    assert rule(b"/w/" + name.encode()) is None


def test_names_that_are_no_utf8_are_judged_like_others() -> None:
    """Bytes stay bytes, also against a pattern and in a reason."""
    assert rule(b"/w/\xff\xfe.mkv", "*.sample.*") is None
    assert rule(b"/w/\xff.sample.mkv", "*.sample.*") == "exclude"
    hidden = rules().unwanted(b"/w/.\xff.mkv", ROOT)
    assert hidden is not None
    assert hidden.reason == "hidden name .\\udcff.mkv"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"a.txt", "extension"),
        (b"mkv", "extension"),
        (b".a.mkv", "hidden"),
        (b".d/a.mkv", "hidden"),
        (b"a.mkv.megamax.json", "sidecar"),
        (b"a.mkv.part", "unfinished"),
        (b"a.mkv.!qB", "unfinished"),
        (b"a.mkv.CRDOWNLOAD", "unfinished"),
        (b"a.f137.mp4", "unfinished"),
        (b"a.f251-drc.mkv", "unfinished"),
        (b"a.temp.mp4", "unfinished"),
        (b"a.temp.MP4", "unfinished"),
        (b"a.mp4.part-Frag3", "unfinished"),
        (b".a.mkv.Xy12Zq", "hidden"),
    ],
)
def test_what_is_never_wanted_says_which_rule(name: bytes, expected: str) -> None:
    """Hidden names, sidecars, and the names of unfinished downloads are left out."""
    assert rule(b"/w/" + name) == expected


@pytest.mark.parametrize(
    "name", [b"race.F1.mkv", b"hot.Temp.mp4", b"a.french.mkv", b"a.fhls-1.mp4"]
)
def test_what_only_looks_like_a_part_of_a_download_is_wanted(name: bytes) -> None:
    """yt-dlp writes its marks in lower case; and streams are told by what lies beside them."""
    assert rule(b"/w/" + name) is None
    assert rules().plain.match(name)


def test_an_extension_is_named_in_the_reason() -> None:
    """The reason says what the file has and what it would need."""
    txt, none = rules().unwanted(b"/w/a.txt", ROOT), rules().unwanted(b"/w/a", ROOT)
    assert txt is not None
    assert none is not None
    assert txt.reason == "extension txt is not in MEGAMAX_EXTENSIONS"
    assert none.reason == "no extension, or one not in MEGAMAX_EXTENSIONS"


@pytest.mark.parametrize(
    ("patterns", "name", "excluded"),
    [
        (["*.sample.*"], b"d/a.sample.mkv", True),
        (["raw/"], b"x/raw/a.mkv", True),
        (["raw/"], b"raw.mkv", False),
        (["/raw"], b"raw/a.mkv", True),
        (["/raw"], b"x/raw/a.mkv", False),
        (["*.mkv", "!keep.mkv"], b"keep.mkv", False),
        (["*.mkv", "!keep.mkv"], b"other.mkv", True),
        (["raw/", "!raw/keep.mkv"], b"raw/keep.mkv", True),
        (["raw/*", "!raw/keep.mkv"], b"raw/keep.mkv", False),
        (["raw/**", "!raw/keep.mkv"], b"raw/keep.mkv", False),
        (["raw/**", "!raw/keep.mkv"], b"raw/other.mkv", True),
        (["raw/**"], b"raw/x/y/a.mkv", True),
        (["/*", "!/anime/"], b"anime/a.mkv", False),
        (["/*", "!/anime/"], b"films/a.mkv", True),
        (["# no pattern", "raw/"], b"raw/a.mkv", True),
    ],
)
def test_excludes_mean_what_gitignore_means(
    patterns: list[str], name: bytes, *, excluded: bool
) -> None:
    """Anchors, trailing slashes and negation work as in git, excluded parents included."""
    assert (rule(b"/w/" + name, *patterns) == "exclude") is excluded


def test_an_exclude_names_its_pattern() -> None:
    """The reason gives the pattern that decides, as it was written."""
    unwanted = rules("a/", "raw/**").unwanted(b"/w/raw/x.mkv", ROOT)
    assert unwanted is not None
    assert unwanted.reason == "excluded by MEGAMAX_EXCLUDE pattern 'raw/**'"


def test_sizes() -> None:
    """Empty files are never wanted, small ones not below the minimum."""
    assert [(u and u.rule) for u in map(rules().unwanted_size, (0, 9, 10))] == [
        "empty",
        "min-size",
        None,
    ]


def test_private_folders_are_not_entered() -> None:
    """The state folder below a watched one holds copies, not videos."""
    own = rules(private=(b"/w/state",))
    for path in (b"/w/state", b"/w/state/sandbox"):
        unwanted = own.unwanted_way(path, ROOT)
        assert unwanted is not None
        assert unwanted.rule == "private"
    assert own.unwanted(b"/w/state2/a.mkv", ROOT) is None
    assert own.unwanted_way(ROOT, ROOT) is None


def test_the_programs_own_folders_are_private(tmp_path: Path) -> None:
    """Named as a walk comes to them, also through links; a watched folder itself never is."""
    real = tmp_path / "real"
    real.mkdir()
    link, inner = tmp_path / "link", real / "sidecars"
    link.symlink_to(real)
    inner.mkdir()
    settings = load(
        environ={
            "MEGAMAX_WATCH": f"{link}:{real}:{inner}",
            "MEGAMAX_STATE_DIR": str(real / "state"),
            "MEGAMAX_SIDECAR_DIR": str(inner),
        }
    )
    own = settings_rules(settings)
    inside = os.fsencode(link / "sidecars")
    assert set(own.private) == {os.fsencode(link / "state"), inside}
    assert settings_rules(settings, watched=False).private == ()
    # All three are one place, in which the inner one is a watched folder of its own.
    assert own.roots == (os.fsencode(link), inside)
    assert own.unwanted(inside + b"/a.mkv", inside) is None


def test_the_innermost_folder_decides() -> None:
    """Of nested watched folders the nearest is the one of a file; others' files have none."""
    nested = Rules((b"/w", b"/w/in", b"/"), frozenset({"mkv"}))
    assert nested.root_of(b"/w/in/a.mkv") == b"/w/in"
    assert nested.root_of(b"/w/inner.mkv") == b"/w"
    assert nested.root_of(b"/x.mkv") == b"/"
    assert rules().root_of(b"/www/a.mkv") is None
    assert nested.unwanted(b"/a/.b/x.mkv", b"/") is not None


def test_files_handed_in_are_held_to_few_rules() -> None:
    """A file named by hand needs no extension, but must not be an unfinished one."""
    assert unwanted_always(b"/x/movie.bin") is None
    assert unwanted_always(b"/x/movie.mkv.part") is not None


def test_the_longest_subfolder_decides_where_uploads_go() -> None:
    """Subfolders are compared part by part; without a match the default holds."""
    folders = Folders(1, [("anime", 12), ("movies/4k", 15), ("movies", 14)])
    assert folders.of(b"/w/anime/a.mkv", ROOT) == 12
    assert folders.of(b"/w/animes/a.mkv", ROOT) == 1
    assert folders.of(b"/w/movies/4k/x/a.mkv", ROOT) == 15
    assert folders.of(b"/w/movies/a.mkv", ROOT) == 14
    assert folders.of(b"/anime/a.mkv", b"/") == 12
    assert folders.of(b"/else/a.mkv", None) == 1


#: What names are made of, as far as a rule looks for it.
PARTS = st.one_of(
    st.sampled_from([b"a", b".", b"..", b"\n", b"\xff", b"mkv", b"MKV", b"mk", b"json", b"part"]),
    st.sampled_from([b".mkv", b".Mp4", b".part", b".tmp", b".f137", b".f1-a", b".temp", b"-drc"]),
    st.sampled_from([b".part-Frag3", b".part-frag", b".megamax.json", b".!qB", b".bc!", b".ts"]),
    st.sampled_from([b"\xc5\xbf", b"K", b".m\xe2\x84\xaav", "И.ИЖ".encode()]),
    st.binary(min_size=1, max_size=3),
)
NAMES = (
    st.lists(PARTS, min_size=1, max_size=5)
    .map(b"".join)
    .filter(lambda name: b"/" not in name and b"\0" not in name)
)
ALL_EXTENSIONS = ("mkv", "mp4", "ts", "json", "part", "tmp", "!qb", "", "MKV", "иж", "a.mkv", "m*")


@given(name=NAMES, extensions=st.frozensets(st.sampled_from(ALL_EXTENSIONS)))
@example(name=b".mkv", extensions=frozenset({"mkv"}))
@example(name=b"a.mkv\n", extensions=frozenset({"mkv"}))
@example(name=b"a.temp.mkv", extensions=frozenset({"mkv"}))
@example(name=b"a.mkv.megamax.JSON", extensions=frozenset({"json"}))
@example(name=b"a.Part", extensions=frozenset({"part"}))
@example(name=b"a.mts".replace(b"s", b"\xc5\xbf"), extensions=frozenset({"mts"}))
def test_one_pattern_says_of_a_name_what_the_rules_say(
    name: bytes, extensions: frozenset[str]
) -> None:
    """A match is wanted for certain; without one it is not, if its extension is ASCII."""
    all_rules = Rules((ROOT,), extensions)
    wanted = all_rules.unwanted_name(ROOT + b"/" + name, ROOT) is None
    matches = all_rules.plain.match(name) is not None
    assert wanted or not matches
    if name[name.rfind(b".") + 1 :].isascii():
        assert matches == wanted
