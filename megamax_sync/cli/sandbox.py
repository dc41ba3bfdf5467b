"""``megamax-sync sandbox``: the embedded Megamax alone."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated

import typer

from megamax_sync.cli import output
from megamax_sync.cli.signals import Signals

if TYPE_CHECKING:
    from megamax_sync.sandbox import Sandbox

_FOUR_DAYS = 345600.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sandbox")(sandbox)


def sandbox(
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="Port on loopback; 0 for any.")
    ] = 0,
    data: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Keep files, credentials and port here; else nothing."),
    ] = None,
    step: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long each status lasts.")
    ] = 1.0,
    link_ttl: Annotated[
        float, typer.Option("--link-ttl", metavar="SECONDS", help="How long direct links work.")
    ] = _FOUR_DAYS,
    no_premium: Annotated[
        bool, typer.Option("--no-premium", help="Refuse direct links, as without a premium plan.")
    ] = False,
) -> None:
    """Serve an embedded Megamax on this machine, until SIGTERM or SIGINT.

    Prints MEGAMAX_API_URL, MEGAMAX_LOGIN and MEGAMAX_KEY, one a line, on stdout. It does all that
    the API's document describes, and takes uploads from any client, curl among them.
    """
    from megamax_sync.sandbox import serve

    stop = threading.Event()
    wrong: list[str] = []

    def work() -> None:
        try:
            serve(
                port=port,
                data=data,
                step=step,
                link_ttl=link_ttl,
                premium=not no_premium,
                announce=_announce,
                stop=stop,
            )
        except ValueError as error:
            wrong.append(f"{error}; see megamax-sync sandbox --help")
        except OSError as error:
            wrong.append(f"the sandbox cannot be started: {error.strerror or error}")
        except RuntimeError as error:
            wrong.append(f"the sandbox cannot be started: {error}")
        finally:
            signals.wake()

    with Signals() as signals:
        server = threading.Thread(target=work, name="sandbox")
        server.start()
        while signals.ending is None and server.is_alive() and not wrong:
            signals.wait(None)
        stop.set()
        server.join()
    if wrong:
        raise output.BadUsage(*wrong)


def _announce(sandbox: Sandbox) -> None:
    output.say(f"MEGAMAX_API_URL={sandbox.api_url}")
    output.say(f"MEGAMAX_LOGIN={sandbox.login}")
    output.say_now(f"MEGAMAX_KEY={sandbox.key}")
