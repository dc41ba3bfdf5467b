"""``install-service``: the systemd unit, its drop-in and the credentials, written or taken away."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from megamax_sync.cli import output
from megamax_sync.cli.context import Root
from megamax_sync.errors import ConfigError

if TYPE_CHECKING:
    from megamax_sync.config import Settings
    from megamax_sync.service import Outcome, Places, Plan

#: systemd answers at once; it may hang while it is being updated.
_PATIENCE = 60.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("install-service")(install_service)


def install_service(
    ctx: typer.Context,
    *,
    user: Annotated[
        bool, typer.Option("--user", help="A service of yours, for systemctl --user; no root.")
    ] = False,
    watch: Annotated[
        list[str] | None,
        typer.Option(
            "--watch", metavar="DIR", help="A folder to watch; repeatable. Else MEGAMAX_WATCH."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be written.")
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Stop the service, and take away what was written.")
    ] = False,
    below: Annotated[
        str,
        typer.Option(
            "--root", metavar="DIR", help="Write below DIR, as systemctl --root; runs nothing."
        ),
    ] = "",
) -> None:
    """Write the systemd unit, a drop-in with your folders, and the credential files.

    Login and key come from where the settings have them, or are asked for on the terminal; never
    from the command line. What else --config and the environment set is written into config.env;
    one that is there already is yours, and what differs from it is refused. Called again it brings
    all else up to date. --remove takes away exactly what was written: the queue, the videos and
    changed settings stay.
    """
    from megamax_sync import service
    from megamax_sync.cli.carrying import further, settings_for, written

    root: Root = ctx.obj
    below = os.path.abspath(below) if below else ""
    places = service.Places.of_user(os.environ, below) if user else service.Places.system(below)
    if remove:
        _remove(places, dry_run=dry_run)
        return
    settings, kept, config = settings_for(root, watch, places)
    planned = service.plan(
        places,
        _folders(settings),
        _credentials(settings, places, dry_run=dry_run),
        config,
        _program(),
        written=written(kept),
        state_dir=kept.state_dir if "state_dir" in kept.sources else None,
        further=further(settings),
    )
    if dry_run:
        _show(planned)
        return
    _say(_installed(places, planned))
    if not below:
        _tell_systemd(places, planned)
    _say_next(places)


def _folders(settings: Settings) -> tuple[str, ...]:
    faults = [
        f"--watch: '{folder}' is no folder; make it first, or name another"
        for folder in settings.require_watch()
        if not os.path.isdir(folder)
    ]
    if faults:
        raise ConfigError(*faults)
    return settings.watch


def _program() -> tuple[str, ...]:
    """Return how this very installation is called from anywhere."""
    beside = os.path.join(os.path.dirname(sys.executable), "megamax-sync")
    if os.access(beside, os.X_OK):
        return (beside,)
    return (sys.executable, "-m", "megamax_sync")


# -- credentials -------------------------------------------------------------------------------


def _credentials(
    settings: Settings, places: Places, *, dry_run: bool
) -> tuple[str | None, str | None]:
    """Return login and key; None for one whose file is there already."""
    from megamax_sync.service.plan import KEY, LOGIN

    found: list[str | None] = []
    missing = []
    for name, file, ask in (("login", LOGIN, input), ("key", KEY, getpass.getpass)):
        secret = getattr(settings, name)
        if secret is not None:
            found.append(secret.get_secret_value())
        elif os.path.lexists(places.real(os.path.join(places.config, file))):
            found.append(None)
        elif dry_run:
            found.append("")
        elif sys.stdin.isatty():
            found.append(_asked(name, ask))
        else:
            missing.append(name)
    if missing:
        settings.require_credentials()
    login, key = found
    return login, key


def _asked(name: str, ask: object) -> str:
    assert callable(ask)
    text = str(ask(f"Megamax {name} (from the account settings): ")).strip()
    if not text or not text.isprintable():
        raise output.BadUsage(f"install-service: that is no {name}; copy it from the account page")
    return text


# -- doing and saying --------------------------------------------------------------------------


def _installed(places: Places, planned: Plan) -> Outcome:
    from megamax_sync import service

    try:
        return service.install(places, planned)
    except OSError as error:
        raise ConfigError(_refused(error, places)) from error


def _refused(error: OSError, places: Places) -> str:
    remedy = "" if places.user else "; call it as root, or with --user"
    return f"install-service: '{error.filename}' cannot be changed ({error.strerror}){remedy}"


def _remove(places: Places, *, dry_run: bool) -> None:
    from megamax_sync import service

    files = service.listed(places)
    if not files:
        output.say("nothing is installed")
        return
    if dry_run:
        for path in files:
            output.say(f"would remove {path}")
        return
    if not places.root:
        _run(places, "systemctl", "disable", "--now", "megamax-sync.service")
        if not places.user:
            _run(places, "systemctl", "disable", "--now", "megamax-sync-scan.timer")
    try:
        outcome = service.remove(places)
    except OSError as error:
        raise ConfigError(_refused(error, places)) from error
    _say(outcome)
    if not places.root:
        _run(places, "systemctl", "daemon-reload")
    output.say("the queue and the videos are as they were")


def _show(planned: Plan) -> None:
    for file in planned.files:
        output.say(f"--- {file.path}  (mode {file.mode:04o})")
        if file.secret:
            output.say("(a credential, which is not shown)")
        elif file.kept:
            output.say("(config.example.env, unless it is there already)")
            for line in file.content.decode(errors="replace").splitlines():
                if line and not line.startswith("#"):
                    output.say(line)
        else:
            output.say(file.content.decode().rstrip())
        output.say()


def _say(outcome: Outcome) -> None:
    for word, paths in (
        ("written", outcome.written),
        ("unchanged", outcome.unchanged),
        ("left as it is", outcome.left),
        ("removed", outcome.removed),
    ):
        for path in paths:
            output.say(f"{word}: {path}")


def _tell_systemd(places: Places, planned: Plan) -> None:
    if planned.own_user:
        _run(places, "systemd-sysusers", "/etc/sysusers.d/megamax-sync.conf")
    _run(places, "systemctl", "daemon-reload")


def _run(places: Places, program: str, *arguments: str) -> None:
    """Call one of systemd's programs. What it says goes to the user; a failure ends nothing."""
    scope = ["--user"] if places.user and program == "systemctl" else []
    said = " ".join([program, *scope, *arguments])
    path = shutil.which(program)
    if path is None:
        output.complain(f"{program} is not here; call it later: {said}")
        return
    try:
        subprocess.run([path, *scope, *arguments], check=True, timeout=_PATIENCE)  # noqa: S603 - started without a shell; the program is systemd's, found in PATH, and its arguments are constants of this file
    except (OSError, subprocess.SubprocessError):
        output.complain(f"this failed: {said}")


def _say_next(places: Places) -> None:
    scope = "--user " if places.user else ""
    output.say()
    output.say(f"next: systemctl {scope}enable --now megamax-sync")
    if places.user:
        output.say("      loginctl enable-linger    (so that it runs while you are not logged in)")
    output.say(f"then: systemctl {scope}status megamax-sync")
    output.say(
        f"other settings: {places.config}/config.env, then systemctl {scope}reload megamax-sync"
    )
    # What systemd hands on is a copy that it makes at the start.
    output.say(
        f"another login or key: {places.config}/megamax_login, {output.signs('…')}_key, "
        f"then systemctl {scope}restart megamax-sync"
    )
