"""Sums, by a small parser of our own: nothing is evaluated, and what would not end is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from adapters import ToolFailed, tool

Number = int | float

LONGEST = 1_000
DEEPEST = 50
MOST_DIGITS = 1_000
MOST_FACTORIAL = 400

_TOKEN = re.compile(r"\s*(?:(\d[\d_]*\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|([A-Za-z]+)|(\*\*|//|[-+*/%^(),!]))")
_THOUSANDS = re.compile(r"(?<![\d.])\d{1,3}(?:,\d{3})+(?![\d,])")
_PERCENT_OF = re.compile(r"%\s*of\b", re.IGNORECASE)
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "²": "^2", "³": "^3", "√": " sqrt "})


def _root(value: Number) -> Number:
    if value < 0:
        raise ToolFailed("A negative number has no real square root.")
    exact = math.isqrt(value) if isinstance(value, int) else None
    return exact if exact is not None and exact * exact == value else math.sqrt(value)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sqrt": _root,
    "abs": abs,
    "round": round,
    "min": min,
    "max": max,
    "floor": math.floor,
    "ceil": math.ceil,
    "ln": math.log,
    "log": math.log,
    "log10": math.log10,
    "exp": math.exp,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
}
CONSTANTS: dict[str, Number] = {"pi": math.pi, "e": math.e}


@tool(timeout=5)
def calculate(expression: str) -> str:
    """Calculate an arithmetic expression exactly.

    Knows + - * / // % ** and brackets, factorials (5!), percentages (15% of 80), sqrt, abs, round, min, max, floor,
    ceil, ln, log10, exp, sin, cos, tan, pi and e.

    Args:
        expression: The expression, such as 25 * 47 or (3.5 + 2) / 4.
    """
    return value_of(expression)


def value_of(expression: str) -> str:
    """The value as text.

    Raises:
        ToolFailed: it is no expression, has no value, or would take too long.
    """
    if len(expression) > LONGEST:
        raise ToolFailed(f"The expression is longer than {LONGEST} characters; split it.")
    prepared = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), expression.translate(_SIGNS))
    prepared = re.sub(r"(?<=\d)\s*x\s*(?=[\d(])", "*", _PERCENT_OF.sub("/100*", prepared))
    try:
        return _written(_Parser(list(_tokens(prepared.rstrip(" =?")))).value())
    except ZeroDivisionError:
        raise ToolFailed("That divides by zero.") from None
    except (OverflowError, ValueError, TypeError):
        raise ToolFailed("That has no value, or one too large to write down.") from None


def _tokens(text: str) -> Iterator[str]:
    position = 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None:
            raise ToolFailed(f"I can't read {text[position:].strip()[:20]!r} in the expression.")
        yield match[0].strip().replace("_", "")
        position = match.end()


@dataclass
class _Parser:
    """Recursive descent: sum, product, sign, power, factorial, atom."""

    tokens: list[str]
    at: int = 0
    depth: int = field(default=0)

    def value(self) -> Number:
        value = self._sum()
        if self.at < len(self.tokens):
            raise ToolFailed(f"I can't read {self.tokens[self.at]!r} where it stands.")
        return value

    def _peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def _take(self, *wanted: str) -> str:
        token = self._peek()
        if token and token in wanted:
            self.at += 1
            return token
        return ""

    def _sum(self) -> Number:
        self.depth += 1
        if self.depth > DEEPEST:
            raise ToolFailed("The brackets are nested too deeply.")
        value = self._product()
        while sign := self._take("+", "-"):
            right = self._product()
            value = value + right if sign == "+" else value - right
        self.depth -= 1
        return value

    def _product(self) -> Number:
        value = self._signed()
        while sign := self._take("*", "/", "//", "%"):
            if sign == "%" and self._peek() in ("", "+", "-", "*", "/", ")", ","):
                value = _divided(value, 100)
                continue
            right = self._signed()
            if sign == "*":
                value = value * right
            elif sign == "/":
                value = _divided(value, right)
            else:
                value = value // right if sign == "//" else value % right
            _bounded(value)
        return value

    def _signed(self) -> Number:
        negative = False
        while sign := self._take("+", "-"):
            negative ^= sign == "-"
        value = self._power()
        return -value if negative else value

    def _power(self) -> Number:
        base = self._factorial()
        if not self._take("**", "^"):
            return base
        self.depth += 1
        if self.depth > DEEPEST:
            raise ToolFailed("The powers are nested too deeply.")
        exponent = self._signed()
        self.depth -= 1
        return _raised(base, exponent)

    def _factorial(self) -> Number:
        value = self._atom()
        while self._take("!"):
            if not isinstance(value, int) or not 0 <= value <= MOST_FACTORIAL:
                raise ToolFailed(f"I do factorials of whole numbers from 0 to {MOST_FACTORIAL}.")
            value = math.factorial(value)
        return value

    def _atom(self) -> Number:
        token = self._peek()
        if self._take("("):
            value = self._sum()
            self._closed()
            return value
        self.at += 1
        if token[:1].isdigit() or token[:1] == ".":
            return int(token) if token.isdigit() else float(token)
        name = token.casefold()
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in FUNCTIONS:
            return self._function(name)
        if not token:
            raise ToolFailed("The expression ends too early.")
        raise ToolFailed(f"I don't know {token[:20]!r}.")

    def _function(self, name: str) -> Number:
        if not self._take("("):
            return FUNCTIONS[name](self._signed())
        arguments = [self._sum()]
        while self._take(","):
            arguments.append(self._sum())
        self._closed()
        return FUNCTIONS[name](*arguments)

    def _closed(self) -> None:
        if not self._take(")"):
            raise ToolFailed("A bracket is not closed.")


def _divided(left: Number, right: Number) -> Number:
    """Exact where both are whole and it comes out even."""
    if isinstance(left, int) and isinstance(right, int) and right and left % right == 0:
        return left // right
    return left / right


def _raised(base: Number, exponent: Number) -> Number:
    """The power, after its size has been estimated: a computation that has begun cannot be stopped."""
    if base == 0 and exponent < 0:
        raise ZeroDivisionError
    if isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1:
        digits = abs(exponent) * math.log10(abs(base))
        if digits > MOST_DIGITS:
            raise ToolFailed(f"The result would have more than {MOST_DIGITS} digits.")
    value: Number | complex = base**exponent
    if isinstance(value, complex):
        raise ToolFailed("That has no real value.")
    return value


def _bounded(value: Number) -> None:
    if isinstance(value, int) and value.bit_length() > MOST_DIGITS * 4:
        raise ToolFailed(f"The result would have more than {MOST_DIGITS} digits.")


def _written(value: Number) -> str:
    if isinstance(value, int):
        return str(value)
    if math.isnan(value) or math.isinf(value):
        raise OverflowError
    rounded = float(f"{value:.12g}")  # 0.1 + 0.2 is 0.3 to a person
    return str(int(rounded)) if rounded.is_integer() and abs(rounded) < 1e15 else str(rounded)
