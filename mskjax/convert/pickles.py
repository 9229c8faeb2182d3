"""A reader of pickles that runs nothing: plain containers, numbers and text, and the few calls that its caller lists.

The standard library's `pickletools` parses the instructions without executing them, and the machine here follows those
that describe data. A `pickle.Unpickler` with a strict `find_class` would keep foreign names out as well, but one memo
index makes it allocate gigabytes, one nested key makes it hash for hours, and BUILD lets a file shadow methods.
"""

import pickletools
from collections.abc import Callable, Mapping
from typing import Any

_NUMBERS = {"INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT"}
_TEXTS = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_MAKERS = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_WITHOUT_EFFECT = {"PROTO", "FRAME", "STOP"}


class Refused(ValueError):
    """What a file holds is not allowed; the message is a phrase that whoever knows the file's name puts after it."""


def unpickle(stream: Any, allowed: Mapping[str, Any], persistent: Callable[[Any], Any]) -> Any:
    """The value of the pickle that begins at the stream's position; the stream then stands behind it.

    `allowed` maps "module name", with the space, to what stands for that global: a function of the caller's own, which
    the pickle may call, or a constant. `persistent` gives the value of a persistent id. The state that BUILD hangs on a
    dict is left out. Raises `Refused` for another global or an instruction that plain data does not need, and
    ValueError, IndexError, KeyError or TypeError where the pickle is no sound one.
    """
    machine = _Machine(allowed, persistent)
    for opcode, argument, _ in pickletools.genops(stream):
        machine.follow(opcode.name, argument)
    return machine.stack.pop()


def refuse_global(name: str) -> Refused:
    """The error for a global, given as "module name"."""
    return Refused(
        f"names {name.replace(' ', '.')[:200]}, which is neither a tensor nor a plain container, and nothing of it was "
        "run; save the state_dict alone and convert that"
    )


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self, allowed: Mapping[str, Any], persistent: Callable[[Any], Any]):
        self.allowed = allowed
        self.persistent = persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def follow(self, name: str, argument: Any) -> None:
        if name in _NUMBERS or name in _TEXTS:
            self.stack.append(argument)
        elif name in _MAKERS:
            self.stack.append(_MAKERS[name]())
        elif name in _STEPS:
            _STEPS[name](self, argument)
        elif name not in _WITHOUT_EFFECT:
            if name == "INST":
                raise refuse_global(argument)
            raise Refused(f"uses the pickle instruction {name}, which no tensor or plain container needs")

    def mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def above_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def make_tuple(self, _: Any) -> None:
        items = self.above_mark()
        self.stack.append(tuple(items))

    def make_list(self, _: Any) -> None:
        items = self.above_mark()
        self.stack.append(items)

    def make_dict(self, _: Any) -> None:
        items = self.above_mark()
        self.stack.append(_update({}, items))

    def append(self, _: Any) -> None:
        item = self.stack.pop()
        _own(list, self.stack[-1]).append(item)

    def extend(self, _: Any) -> None:
        items = self.above_mark()
        _own(list, self.stack[-1]).extend(items)

    def set_item(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _update(self.stack[-1], [key, value])

    def set_items(self, _: Any) -> None:
        items = self.above_mark()
        _update(self.stack[-1], items)

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def name(self, name: str) -> None:
        if name not in self.allowed:
            raise refuse_global(name)
        self.stack.append(self.allowed[name])

    def name_from_stack(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.name(f"{module} {name}" if isinstance(name, str) and isinstance(module, str) else "no text at all")

    def call(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not callable(function):
            raise Refused("calls something that is no function")
        self.stack.append(function(*_own(tuple, arguments)))

    def set_state(self, _: Any) -> None:
        state = self.stack.pop()
        if not isinstance(state, dict) or not isinstance(self.stack[-1], dict):
            raise Refused("sets the state of something that is no dictionary")

    def refer(self, _: Any) -> None:
        self.stack.append(self.persistent(self.stack.pop()))


def _tuple_of(count: int) -> Callable[[_Machine, Any], None]:
    def step(machine: _Machine, _: Any) -> None:
        items = [machine.stack.pop() for _ in range(count)]
        machine.stack.append(tuple(reversed(items)))

    return step


def _own(kind: type, value: Any) -> Any:
    """`value`, checked to be exactly a list, a tuple or a dict of ours."""
    if type(value) is not kind:
        raise Refused(f"uses {type(value).__name__} where a {kind.__name__} belongs")
    return value


def _update(target: Any, items: list[Any]) -> dict[Any, Any]:
    """`target` with keys and values that alternate in `items`; nested keys could take forever to hash."""
    keys, values = items[::2], items[1::2]
    if not all(isinstance(key, str | int) for key in keys):
        raise Refused("has a dictionary key that is neither text nor a whole number")
    _own(dict, target).update(zip(keys, values, strict=True))
    return target


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "TUPLE": _Machine.make_tuple,
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "LIST": _Machine.make_list,
    "DICT": _Machine.make_dict,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.extend,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.memoize,
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name_from_stack,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.set_state,
    "BINPERSID": _Machine.refer,
}
