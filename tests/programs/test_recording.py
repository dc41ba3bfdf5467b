"""ffmpeg, which records under the final name and writes what makes it playable at the end."""

from __future__ import annotations

import pytest
from conftest import RequireProgram

from .place import Place


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param((), id="index at the end"),
        pytest.param(("-movflags", "+faststart"), id="index moved to the front in a second pass"),
    ],
)
def test_a_live_recording(
    place: Place, flags: tuple[str, ...], require_program: RequireProgram
) -> None:
    """What is sent is the finished recording, also when the source stalls in the middle."""
    target = place.drop / "live.mp4"
    source = "-nostdin -re -f lavfi -i testsrc=size=640x360:rate=25 -t 1.5"
    codec = "-c:v mpeg4 -g 5 -b:v 4M -flush_packets 1"
    with place.running(
        require_program("ffmpeg"), *source.split(), *codec.split(), *flags, target
    ) as ffmpeg:
        place.wait_written(target)
        with ffmpeg.standing_still():
            place.wait_reason(target, f"open for writing (pid {ffmpeg.process.pid}, ffmpeg)")
        ffmpeg.finish()
    content = target.read_bytes()
    assert b"moov" in content
    place.check({target: content})
