"""``ls`` and ``links``: the account's files and their links, asked for now."""

from __future__ import annotations

from cli.program import Program
from megamax_sync.sandbox import Fault, FaultScript, Sandbox


def test_ls_lists_what_the_service_lists(program: Program, sandbox: Sandbox) -> None:
    """Columns for people, a list for programs; folder and status are the service's filters."""
    sandbox.add_file("in twelve.mp4", b"12345", folder=12)
    failed = sandbox.add_file("bad\x1b[31m.mp4", b"1", status="failed")
    text = program.run("ls")
    assert text.lines()[0].split() == ["HASHID", "STATUS", "SIZE", "CREATED", "FOLDER", "NAME"]
    assert "\x1b" not in text.out
    (one,) = program.run("ls", "--folder", "12", "--json").json()
    assert (one["name"], one["size"], one["status"]) == ("in twelve", 5, "converted")
    (one,) = program.run("ls", "--status", "failed", "--json").json()
    assert one["hashid"] == failed.hashid
    assert program.run("ls", "--orphans", "--json").json() == []


def test_links_in_every_form(program: Program, sandbox: Sandbox) -> None:
    """Plain, embed, bbcode and markdown, one link a line; JSON has mirrors and direct links."""
    hashid = sandbox.add_file("a.mp4", b"12345").hashid
    document = program.run("links", hashid, "--json").json()
    assert set(document) == {"hashid", "mirrors", "direct", "direct_error"}
    url = document["mirrors"][0]["mirrors"][0]["iframe"]
    plain = program.run("links", hashid).lines()
    assert {line.split()[0] for line in plain} == {"iframe", "link", "stream", "download"}
    assert plain[0].split() == ["iframe", url]
    embed = program.run("links", hashid, "--format", "embed").lines()
    assert embed[0].startswith(f'<iframe src="{url}"')
    assert all(line.endswith("allowfullscreen></iframe>") for line in embed)
    assert program.run("links", hashid, "--format", "bbcode").lines()[0].startswith(f"[url={url}]")
    assert f"](<{url}>)" in program.run("links", hashid, "--format", "markdown").lines()[0]
    assert program.run("links", hashid, "--format", "latex").status == 2


def test_a_refusal_of_direct_links_is_a_note(
    program: Program, sandbox: Sandbox, faults: FaultScript
) -> None:
    """The mirrors are shown, the service's message goes to stderr, and the exit status is 0."""
    hashid = sandbox.add_file("a.mp4", b"12345").hashid
    faults.add("direct", Fault.status(403, "Premium only"), nth=None)
    result = program.run("links", hashid)
    assert (result.status, bool(result.out)) == (0, True)
    assert "Premium only" in result.err
    assert program.run("links", hashid, "--json").json()["direct_error"] == "Premium only"


def test_no_links_yet_is_said(program: Program, sandbox: Sandbox, faults: FaultScript) -> None:
    """A file in conversion has no mirrors to embed."""
    hashid = sandbox.add_file("a.mp4", b"12345", status="processing").hashid
    result = program.run("links", hashid, "--format", "embed")
    assert (result.status, result.out) == (0, "")
    assert "no such links yet" in result.err


def test_faults_have_their_exit_status(program: Program, faults: FaultScript) -> None:
    """Unknown hashid 1, plain HTTP to others 2, rejected credentials 3, no service 75."""
    assert program.run("links", "nosuchhashid").status == 1
    rejected = program.run("ls", env={"MEGAMAX_KEY": "not-the-key"})
    assert rejected.status == 3
    assert "MEGAMAX_KEY" in rejected.faults()[0]
    assert "not-the-key" not in rejected.err
    assert program.run("links", "x", env={"MEGAMAX_LOGIN": "nobody"}).status == 3
    assert program.run("ls", env={"MEGAMAX_API_URL": "http://127.0.0.1:9/api"}).status == 75
    assert program.run("ls", env={"MEGAMAX_API_URL": "http://192.0.2.1/api"}).status == 2
    assert program.run("ls", env={"MEGAMAX_LOGIN": ""}).status == 2
    faults.add("files", Fault.status(503), nth=None)
    assert program.run("ls").status == 75
