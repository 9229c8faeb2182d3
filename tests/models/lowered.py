"""What a traced function is lowered to for a platform, read from the program's text, whatever device is at hand.

Layers of one shape share a function of the program (`jit`), which is written once and called by each of them.
"""

import collections
import functools
import re


class Lowered:
    """The functions of a program: `written` how often by each name, and `called` from how many places."""

    def __init__(self, traced, platform):
        self.text = traced.lower(lowering_platforms=(platform,)).as_text()
        self._bodies = dict(re.findall(r"func\.func \w+ @(\w+)(.*?)\n  }", self.text, re.S))
        self.written = _by_name(self._bodies)
        self.called = _by_name(callee for body in self._bodies.values() for callee in _callees(body))

    def done(self, names):
        """How often the program does each operation: one of a function as often as that is called."""

        @functools.cache
        def of(function):
            found = collections.Counter(re.findall(r"stablehlo\.(\w+)[ (]", self._bodies[function]))
            for callee in _callees(self._bodies[function]):
                found.update(of(callee))
            return found

        return {name: of("main")[name] for name in names}


def _callees(body):
    return re.findall(r"call @(\w+)\(", body)


def _by_name(functions):
    """Without the numbers by which functions of one name are told apart."""
    return collections.Counter(re.sub(r"_\d+$", "", function) for function in functions)
