"""What ``--install-completion`` and ``--show-completion`` write, where Typer's own falls short."""

from __future__ import annotations

from collections.abc import Sequence

from typer import _completion_shared as typers

_OPTIONS = {"--install-completion", "--show-completion"}
#: zsh loads the file at the first Tab, by the name of a function whose body it is then. Typer's
#: only says there what answers from the second Tab on; this answers the first one, too.
_ZSH = (
    typers.COMPLETION_SCRIPT_ZSH.rstrip()
    + """

if [[ "${funcstack[1]}" == "_%(prog_name)s" ]]; then
  %(complete_func)s "$@"
fi
"""
)


def mend(words: Sequence[str]) -> None:
    """Have zsh's script whole, if these words of the command line ask for one."""
    if not _OPTIONS.isdisjoint(words):
        typers._completion_scripts["zsh"] = _ZSH  # noqa: SLF001 - Typer has no public way to change a shell's script; tests/cli has a real zsh complete with this one
