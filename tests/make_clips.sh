#!/bin/sh
# Makes the sample videos anew: tests/make_clips.sh [FOLDER]. Needs ffmpeg with libx264, libvpx-vp9
# and libopus. They are generated pictures and tones, so nobody has rights in them.
set -eu
out=${1:-$(dirname "$0")/data}
mkdir -p "$out/series"

# clip SECONDS PICTURE TONE_HZ NAME CODEC_OPTION...
clip() {
    seconds=$1 picture=$2 tone=$3 name=$4
    shift 4
    ffmpeg -nostdin -v error -y -f lavfi -i "$picture" -f lavfi -i "sine=frequency=$tone" \
        -t "$seconds" -pix_fmt yuv420p "$@" -map_metadata -1 -fflags +bitexact "$out/$name"
}

h264="-c:v libx264 -preset slow -crf 34 -c:a aac -b:a 32k -ac 1"
vp9="-c:v libvpx-vp9 -b:v 0 -crf 50 -c:a libopus -b:a 24k -ac 1"

# The options are words, not one argument.
# shellcheck disable=SC2086
{
    clip 4 "testsrc2=size=320x180:rate=24" 440 "Harbour Lights EP 01.mp4" $h264 -movflags +faststart
    clip 3 "smptehdbars=size=320x180:rate=25" 330 "Evening News 2026-03-14.mp4" $h264
    clip 3 "mandelbrot=size=160x90:rate=12" 523 "Wintergärten (Director’s Cut).webm" $vp9
    clip 5 "testsrc=size=320x180:rate=24" 262 "series/Harbour Lights EP 02.mkv" $h264
    clip 4 "life=size=160x90:rate=12:ratio=0.1:seed=7:mold=10" 392 "series/Harbour Lights EP 03.mkv" $vp9
}
