#!/app/bin/python -I
"""The container's `megamax-sync`: gives root up for PUID:PGID, sets UMASK, becomes the program.

PUID, PGID: who works, and owns what is written; 1000 each unless set. Only root can become
somebody else, so in a container that is started as another user (`--user`) they say nothing.
UMASK: octal, 022 unless set. The program takes this process's place, and so gets its signals.
"""

import os
import sys

PROGRAM = "/app/bin/megamax-sync"


def number(name: str, default: int) -> int:
    """Read a whole number from the environment."""
    text = os.environ.get(name, "").strip() or str(default)
    if not text.isascii() or not text.isdigit():
        fail(f"{name}: '{text}' is no number; give a numeric ID, as `id -u` and `id -g` print it")
    return int(text)


def fail(fault: str) -> None:
    """End as the program does for a wrong setting."""
    sys.stderr.write(f"megamax-sync: {fault}\n")
    sys.exit(2)


def become(uid: int, gid: int) -> None:
    """Give root up for good."""
    state = os.environ.get("MEGAMAX_STATE_DIR") or "/state"
    try:
        # A volume that was made empty belongs to root. Whoever mounts one of their own owns it.
        if os.path.isdir(state) and os.stat(state).st_uid == 0 and not os.listdir(state):
            os.chown(state, uid, gid)
    except OSError:
        # Without CAP_CHOWN, or read-only: the program says what it cannot write.
        pass
    try:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    except PermissionError:
        fail(
            "PUID, PGID: root may not become another user here; add the capabilities SETUID and "
            f"SETGID, or start the container as that user (user: '{uid}:{gid}')"
        )


def main() -> None:
    """Become the program."""
    umask = os.environ.get("UMASK", "").strip() or "022"
    if not umask.isascii() or not umask.isdigit() or set(umask) & set("89") or len(umask) > 4:
        fail(f"UMASK: '{umask}' is no octal mask; give one such as 022")
    os.umask(int(umask, 8))
    uid, gid = number("PUID", 1000), number("PGID", 1000)
    if os.geteuid() == 0 and uid != 0:
        become(uid, gid)
    os.execv(PROGRAM, [PROGRAM, *sys.argv[1:]])  # noqa: S606 - it is meant to take our place


main()
