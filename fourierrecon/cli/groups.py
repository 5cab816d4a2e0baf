"""Groups of options that commands share: declared once, as fields of a dataclass, and handed over as one record."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, TypeVar, get_type_hints

R = TypeVar("R")
#: Panel of the help for the options that most users need.
USUAL = "The usual options"


def with_groups(*usual: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Let a command take records where the command line has single options.

    Each parameter whose annotation is a dataclass is replaced by the fields of that dataclass, in their order; a field
    may be such a group itself. The call gathers the values again.

    Parameters
    ----------
    *usual
        Options that open the help, in this order, by the names of their fields.
    """

    def decorate(command: Callable[..., R]) -> Callable[..., R]:
        hints = get_type_hints(command, include_extras=True)
        own = list(inspect.signature(command).parameters.values())
        options: list[inspect.Parameter] = []
        for parameter in own:
            kind = hints[parameter.name]
            options += _options_of(kind) if _is_group(kind) else [parameter.replace(annotation=kind)]
        by_name = {option.name: option for option in options}
        first = [_moved(by_name.pop(name)) for name in usual]
        # the context and arguments may be positional, and those stand first
        positional = [option for option in by_name.values() if option.kind is not option.KEYWORD_ONLY]
        keywords = [option for option in by_name.values() if option.kind is option.KEYWORD_ONLY]
        flat = [*positional, *first, *keywords]

        @wraps(command)
        def gathered(**values: Any) -> R:
            kinds = {parameter.name: hints[parameter.name] for parameter in own}
            return command(
                **{name: _gather(kind, values) if _is_group(kind) else values[name] for name, kind in kinds.items()}
            )

        gathered.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
        gathered.__annotations__ = {option.name: option.annotation for option in flat}
        del gathered.__wrapped__
        return gathered

    return decorate


def _is_group(kind: Any) -> bool:
    return isinstance(kind, type) and is_dataclass(kind)


def _options_of(group: Any) -> list[inspect.Parameter]:
    """List the single options of a group."""
    hints = get_type_hints(group, include_extras=True)
    options: list[inspect.Parameter] = []
    for field in fields(group):
        kind = hints[field.name]
        if _is_group(kind):
            options += _options_of(kind)
            continue
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        options.append(inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind))
    return options


def _gather(group: Any, values: Mapping[str, Any]) -> Any:
    """Make the record of a group from the values of single options."""
    hints = get_type_hints(group)
    return group(
        **{
            field.name: _gather(hints[field.name], values) if _is_group(hints[field.name]) else values[field.name]
            for field in fields(group)
        }
    )


def _moved(option: inspect.Parameter) -> inspect.Parameter:
    """Move an option into the panel of the usual ones."""
    kind, declaration = option.annotation.__origin__, copy(option.annotation.__metadata__[0])
    declaration.rich_help_panel = USUAL
    return option.replace(annotation=Annotated[kind, declaration])
