"""Whether the memories of a component keep to one limit together.

The library holds each memory to the limit that a store is given, not their sum. So a component may have one memory that
grows, which that limit holds; what it has besides must be of fixed size, and `FIXED_BYTES_MAX` together. Then an
instance never has more than its limit and that. It costs no honest component anything: what toolchains add to a program
are adapters with a memory of no pages, which no instruction grows.

A core memory never leaves the component in which its module is instantiated. So it grows only if a module of that very
component has the instruction for it; and the memories that there are follow from what each component instantiates, as
long as none hands modules or components to another. One that does is refused: its parts cannot be counted.

Reads only what the library has found valid. Source: the component model's Binary.md and the core specification.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

FIXED_BYTES_MAX = 1 << 20
PAGE_BYTES = 64 << 10
CODE_READ_BYTES_MAX = 64 << 10
"""A module with more code than this is taken for one that grows its memory, unread."""

HANDS_AROUND = "it hands core modules or components from one of its parts to another: build it with this host's SDK"
TOO_MUCH = (
    f"only one of its memories may grow, and the others may have {FIXED_BYTES_MAX >> 20} MiB together: "
    "build it with this host's SDK"
)
_UNBOUNDED = 1 << 62


class _Unknown(Exception):
    """The binary has something that this module does not know."""


class _Reader:
    """A position in a binary. Reading beyond its end raises IndexError."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self.data, self.at, self.end = data, at, end

    def byte(self) -> int:
        if self.at >= self.end:
            raise IndexError
        self.at += 1
        return self.data[self.at - 1]

    def number(self) -> int:
        """An unsigned LEB128 number. A signed one is as long."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def skip(self, count: int) -> None:
        self.at += count

    def name(self) -> None:
        self.skip(self.number())

    def sections(self) -> list[tuple[int, _Reader]]:
        """What is left, as a list of (id, content)."""
        found = []
        while self.at < self.end:
            kind, size = self.byte(), self.number()
            found.append((kind, _Reader(self.data, self.at, self.at + size)))
            self.skip(size)
        return found


@dataclass
class _Module:
    """Of each memory the bytes at the start and at most; whether any may be grown from here."""

    memories: list[tuple[int, int]] = field(default_factory=list)
    grows: bool = False


@dataclass
class _Component:
    modules: list[_Module] = field(default_factory=list)
    components: list[_Component] = field(default_factory=list)
    made_modules: Counter[int] = field(default_factory=Counter)
    made_components: Counter[int] = field(default_factory=Counter)

    def memories(self) -> Counter[int]:
        """How often there is a memory that may reach so many bytes."""
        grows = any(self.modules[index].grows for index in self.made_modules)
        found: Counter[int] = Counter()
        for index, times in self.made_modules.items():
            for start, most in self.modules[index].memories:
                found[most if grows else start] += times
        for index, times in self.made_components.items():
            for most, each in self.components[index].memories().items():
                found[most] += times * each
        return found


def problems(component: bytes) -> list[str]:
    """Why the memories of a valid component may together pass the limit; empty when they do not."""
    try:
        found = _component(_Reader(component, 8, len(component))).memories()
    except (_Unknown, IndexError, RecursionError):
        return [HANDS_AROUND]
    if found:
        found[max(found)] -= 1  # this one is held by the limit
    return [TOO_MUCH] if sum(most * times for most, times in found.items()) > FIXED_BYTES_MAX else []


_CORE, _MODULE, _COMPONENT = 0x00, 0x11, 0x04


def _component(reader: _Reader) -> _Component:
    found = _Component()
    for kind, content in reader.sections():
        match kind:
            case 1:
                found.modules.append(_module(_Reader(content.data, content.at + 8, content.end)))
            case 2:
                _count_core_instances(content, found.made_modules)
            case 4:
                found.components.append(_component(_Reader(content.data, content.at + 8, content.end)))
            case 5:
                _count_instances(content, found.made_components)
            case 6:
                _check_aliases(content)
            case 10 | 11:
                _check_imports_or_exports(content, exports=kind == 11)
    return found


def _sort(reader: _Reader) -> None:
    """Of something handed around: anything but core modules and components."""
    sort = reader.byte()
    if sort == _COMPONENT or (sort == _CORE and reader.byte() == _MODULE):
        raise _Unknown


def _count_core_instances(reader: _Reader, made: Counter[int]) -> None:
    for _ in range(reader.number()):
        if reader.byte() == 0x00:
            made[reader.number()] += 1
            for _ in range(reader.number()):
                reader.name()
                reader.byte()
                reader.number()
        else:
            for _ in range(reader.number()):
                reader.name()
                reader.byte()
                reader.number()


def _count_instances(reader: _Reader, made: Counter[int]) -> None:
    for _ in range(reader.number()):
        instantiates = reader.byte() == 0x00
        if instantiates:
            made[reader.number()] += 1
        for _ in range(reader.number()):
            if not instantiates:
                reader.byte()
            reader.name()
            _sort(reader)
            reader.number()


def _check_aliases(reader: _Reader) -> None:
    for _ in range(reader.number()):
        _sort(reader)
        if reader.byte() == 0x02:
            reader.number()
            reader.number()
        else:
            reader.number()
            reader.name()


def _check_imports_or_exports(reader: _Reader, *, exports: bool) -> None:
    for _ in range(reader.number()):
        if reader.byte() > 0x01:
            raise _Unknown
        reader.name()
        if exports:
            _sort(reader)
            reader.number()
            if reader.byte() == 0x00:
                continue
        _check_described(reader)


def _check_described(reader: _Reader) -> None:
    """An externdesc."""
    kind = reader.byte()
    if kind in (_CORE, _COMPONENT):
        raise _Unknown
    if kind in (0x02, 0x03) and reader.byte() == 0x01 and kind == 0x03:
        return
    reader.number()


def _module(reader: _Reader) -> _Module:
    found = _Module()
    for kind, content in reader.sections():
        if kind == 5:
            found.memories += [_memory(content) for _ in range(content.number())]
        elif kind == 10:
            found.grows = content.end - content.at > CODE_READ_BYTES_MAX or _has_grow(content)
    return found


def _memory(reader: _Reader) -> tuple[int, int]:
    flags = reader.byte()
    if flags & ~0x05:  # shared, or with pages of another size
        raise _Unknown
    start = reader.number() * PAGE_BYTES
    return start, max(start, reader.number() * PAGE_BYTES) if flags & 0x01 else _UNBOUNDED


# Instructions: how many numbers follow the code of each.

_NUMBERS = {
    **dict.fromkeys((0x00, 0x01, 0x05, 0x0B, 0x0F, 0x1A, 0x1B, *range(0x45, 0xC5), 0xD1), 0),
    **dict.fromkeys((0x02, 0x03, 0x04, 0x0C, 0x0D, 0x10, 0x12, *range(0x20, 0x27), 0x3F, 0x41, 0x42, 0xD0, 0xD2), 1),
    **dict.fromkeys((0x11, 0x13), 2),
}
_NUMBERS_FC = {**dict.fromkeys(range(8), 0), **dict.fromkeys((9, 11, 13, 15, 16, 17), 1), 8: 2, 10: 2, 12: 2, 14: 2}
_BR_TABLE, _SELECT, _GROW, _F32, _F64, _MORE = 0x0E, 0x1C, 0x40, 0x43, 0x44, 0xFC


def _has_grow(reader: _Reader) -> bool:
    """Whether a function in a code section grows a memory. True, too, if it has an instruction not known here."""
    for _ in range(reader.number()):
        size = reader.number()
        body = _Reader(reader.data, reader.at, reader.at + size)
        for _ in range(body.number()):
            body.number()
            body.number()
        while body.at < body.end:
            if not _skip_instruction(body):
                return True
        reader.skip(size)
    return False


def _skip_instruction(body: _Reader) -> bool:
    """False when it is, or might be, the one that grows a memory."""
    code = body.byte()
    if code == _MORE:
        count = _NUMBERS_FC.get(body.number())
    elif 0x28 <= code <= 0x3E:
        count = 2 if body.number() & 0x40 else 1
    elif code == _BR_TABLE:
        count = body.number() + 1
    elif code == _SELECT:
        count = body.number()
    elif code in (_F32, _F64):
        body.skip(4 if code == _F32 else 8)
        count = 0
    else:
        count = _NUMBERS.get(code)
    if count is None:
        return False
    for _ in range(count):
        body.number()
    return True
