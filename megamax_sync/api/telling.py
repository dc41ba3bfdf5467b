"""Lets whoever wants to count calls hear how each one ended."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Teller(Protocol):
    """Has somebody to tell: of the method's name, and its error or None."""

    on_call: Callable[[str, BaseException | None], None]


_T = TypeVar("_T", bound=Teller)


def told(call: Callable[Concatenate[_T, _P], _R]) -> Callable[Concatenate[_T, _P], _R]:
    """Tell ``on_call`` how each call of a method ended."""

    def telling(self: _T, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            result = call(self, *args, **kwargs)
        except BaseException as error:
            self.on_call(call.__name__, error)
            raise
        self.on_call(call.__name__, None)
        return result

    functools.update_wrapper(telling, call)
    return telling
