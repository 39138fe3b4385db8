"""Sums, by a small parser of our own: nothing is evaluated, and what would not end is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal, localcontext
from typing import Any

from adapters import ToolFailed, tool

Number = int | float

LONGEST = 1_000
DEEPEST = 50
MOST_DIGITS = 1_000
MOST_FACTORIAL = 400

MOST_PLACES = 400
MOST_EXACT = 2_000
"""Digits with which decimals are divided and rounded: more than the largest numbers here have together."""

_TOKEN = re.compile(
    r"\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|[A-Za-z][A-Za-z0-9]*|\*\*|//|[-+*/%^(),!]", re.ASCII
)
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?![\d,])(?:\.\d+)?", re.ASCII)
_SPACE = re.compile(r"\s*")
_TIMES = re.compile(r"(?<=[\d)])\s*[xX]\s*(?=[\d(])", re.ASCII)
_HEXADECIMAL = re.compile(r"(?<![\d.])0[xX]\d", re.ASCII)
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "²": "^2", "³": "^3", "√": " sqrt "})


def _root(value: Number) -> Number:
    if value < 0:
        raise ToolFailed("A negative number has no real square root.")
    exact = math.isqrt(value) if isinstance(value, int) else None
    return exact if exact is not None and exact * exact == value else math.sqrt(value)


def _rounded(value: Number, places: Number = 0) -> Number:
    """As people round: a half away from zero, and 2.675 as it is written, not as its nearest fraction of two."""
    if not isinstance(places, int):
        raise TypeError
    if abs(places) > MOST_PLACES:
        raise ToolFailed(f"I round to at most {MOST_PLACES} places.")
    with localcontext(prec=MOST_EXACT):
        rounded = _decimal(value).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
        return float(rounded) if places > 0 and isinstance(value, float) else int(rounded)


def _decimal(value: Number) -> Decimal:
    """The number with the 15 digits that we show of it."""
    return Decimal(value) if isinstance(value, int) else Decimal(f"{value:.15g}")


def _floor(value: Number) -> int:
    return int(_decimal(value).to_integral_value(ROUND_FLOOR))


def _ceil(value: Number) -> int:
    return int(_decimal(value).to_integral_value(ROUND_CEILING))


def _natural(value: Number) -> Number:
    return math.log(value)


def _logarithm(value: Number, base: Number) -> Number:
    return math.log(value, base)


def _turned(function: Callable[[Number], float]) -> Callable[[Number], Number]:
    """A sine of nearly pi is nearly nothing, and meant to be nothing."""

    def turned(value: Number) -> Number:
        found = function(value)
        return round(found, 15) if abs(found) < 1 else found

    return turned


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sqrt": _root,
    "abs": abs,
    "round": _rounded,
    "min": min,
    "max": max,
    "floor": _floor,
    "ceil": _ceil,
    "ln": _natural,
    "log": _logarithm,
    "log2": math.log2,
    "log10": math.log10,
    "exp": math.exp,
    "sin": _turned(math.sin),
    "cos": _turned(math.cos),
    "tan": _turned(math.tan),
    "asin": math.asin,
    "acos": math.acos,
    "atan": math.atan,
    "degrees": math.degrees,
    "radians": math.radians,
}
_OF_SEVERAL = frozenset({"round", "min", "max", "log"})
"""In the brackets of these a comma stands between two arguments, never within a number."""

CONSTANTS: dict[str, Number] = {"pi": math.pi, "e": math.e}


@tool(timeout=5)
def calculate(expression: str) -> str:
    """Calculate an arithmetic expression.

    Knows + - * / // % ** and brackets, factorials (5!), sqrt, abs, round, min, max, floor, ceil, ln, log2, log10,
    log(x, base), exp, sin, cos, tan, asin, acos, atan (in radians), radians, degrees, pi and e. A percentage is a
    hundredth: 15% of 80 is 12, 200 + 10% is 200.1. Whole numbers are exact, others have 15 digits.

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
    prepared = expression.translate(_SIGNS).strip().rstrip("=? ")
    if _HEXADECIMAL.search(prepared):
        raise ToolFailed("I can't read hexadecimal numbers; for a product, write *.")
    try:
        return _written(_Parser(list(_tokens(_TIMES.sub("*", prepared)))).value())
    except ZeroDivisionError:
        raise ToolFailed("That divides by zero.") from None
    except (OverflowError, ValueError):
        raise ToolFailed("That has no value, or one too large or too small to write down.") from None


def _tokens(text: str) -> Iterator[str]:
    """Numbers without separators, names in small letters, and signs."""
    brackets: list[bool] = []  # of each open one, whether a comma within it stands between arguments
    before = ""
    position = 0
    while (position := _end(_SPACE.match(text, position))) < len(text):
        separates = bool(brackets) and brackets[-1]
        match = (None if separates else _THOUSANDS.match(text, position)) or _TOKEN.match(text, position)
        if match is None:
            raise ToolFailed(f"I can't read {text[position : position + 20]!r} in the expression.")
        read = match[0].casefold()
        if read == "(":
            brackets.append(before in _OF_SEVERAL)
        elif read == ")" and brackets:
            brackets.pop()
        before = read if read == "," else read.replace(",", "").replace("_", "")
        yield before
        position = match.end()


def _end(match: re.Match[str] | None) -> int:
    return match.end() if match else 0


@dataclass
class _Parser:
    """Recursive descent: sum, product, sign, power, percentage and factorial, atom."""

    tokens: list[str]
    at: int = 0
    depth: int = 0

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
        value = self._product()
        while sign := self._take("+", "-"):
            right = self._product()
            value = value + right if sign == "+" else value - right
        return value

    def _product(self) -> Number:
        value = self._signed()
        while sign := self._take("*", "/", "//", "%"):
            right = self._signed()
            if sign == "*":
                value = value * right
            elif sign == "/":
                value = _divided(value, right)
            else:
                value = _shared(value, right)[sign == "%"]
            _bounded(value)
        return value

    def _signed(self) -> Number:
        negative = False
        while sign := self._take("+", "-"):
            negative ^= sign == "-"
        self.depth += 1  # every nesting comes through here: of brackets, powers and functions
        if self.depth > DEEPEST:
            raise ToolFailed("The expression is nested too deeply.")
        value = self._power()
        self.depth -= 1
        return -value if negative else value

    def _power(self) -> Number:
        base = self._postfix()
        return _raised(base, self._signed()) if self._take("**", "^") else base

    def _postfix(self) -> Number:
        value = self._atom()
        while True:
            if self._take("!"):
                value = _factorial(value)
            elif self._peek() == "%" and not self._operand_at(self.at + 1):
                self.at += 1
                value = _divided(value, 100)
                if self._take("of"):
                    value = value * self._signed()
                    _bounded(value)
            else:
                return value

    def _operand_at(self, at: int) -> bool:
        """Whether the % before it is the remainder's. Before a + or - it is not: 5% - 3 is more common than 5 % -3."""
        after = self.tokens[at] if at < len(self.tokens) else ""
        return after == "(" or (after[:1].isalnum() and after != "of") or after[:1] == "."

    def _atom(self) -> Number:
        token = self._peek()
        if self._take("("):
            value = self._sum()
            self._closed()
            return value
        self.at += 1
        if token[:1].isdigit() or token[:1] == ".":
            return int(token) if token.isdigit() else _finite(float(token))
        if token in CONSTANTS:
            return CONSTANTS[token]
        if token in FUNCTIONS:
            return self._function(token)
        if not token:
            raise ToolFailed("The expression ends too early.")
        raise ToolFailed(f"I don't know {token[:20]!r}.")

    def _function(self, name: str) -> Number:
        if self._take("("):
            arguments = [self._sum()]
            while self._take(","):
                arguments.append(self._sum())
            self._closed()
        else:
            arguments = [self._signed()]
        try:
            return FUNCTIONS[name](*arguments)
        except TypeError:
            raise ToolFailed(f"{name} can't be had of these arguments ({len(arguments)} given).") from None

    def _closed(self) -> None:
        if not self._take(")"):
            raise ToolFailed("A bracket is not closed.")


def _factorial(value: Number) -> Number:
    if not isinstance(value, int) or not 0 <= value <= MOST_FACTORIAL:
        raise ToolFailed(f"I do factorials of whole numbers from 0 to {MOST_FACTORIAL}.")
    return math.factorial(value)


def _divided(left: Number, right: Number) -> Number:
    """Exact where both are whole and it comes out even."""
    if isinstance(left, int) and isinstance(right, int) and right and left % right == 0:
        return left // right
    return left / right


def _shared(left: Number, right: Number) -> tuple[Number, Number]:
    """How often the right fits into the left, and what remains; in tenths as people write them: 0.3 // 0.1 is 3."""
    if isinstance(left, int) and isinstance(right, int):
        return divmod(left, right)
    if not right:
        raise ZeroDivisionError
    with localcontext(prec=MOST_EXACT):
        whole = (_decimal(left) / _decimal(right)).to_integral_value(ROUND_FLOOR)
        return int(whole), float(_decimal(left) - whole * _decimal(right))


def _raised(base: Number, exponent: Number) -> Number:
    """The power, after its size has been estimated: a computation that has begun cannot be stopped."""
    if base == 0 and exponent < 0:
        raise ZeroDivisionError
    if isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1 and exponent > 0:
        digits = exponent * math.log10(abs(base))
        if digits > MOST_DIGITS:
            raise ToolFailed(f"The result would have more than {MOST_DIGITS} digits.")
    value: Number | complex = base**exponent
    if isinstance(value, complex):
        raise ToolFailed("That has no real value.")
    if value == 0 and base != 0:
        raise OverflowError
    return value


def _bounded(value: Number) -> None:
    if isinstance(value, int) and value.bit_length() > MOST_DIGITS * 4:
        raise ToolFailed(f"The result would have more than {MOST_DIGITS} digits.")


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise OverflowError
    return value


def _written(value: Number) -> str:
    if isinstance(value, int):
        return str(value)
    rounded = float(f"{_finite(value):.15g}")  # 0.1 + 0.2 is 0.3 to a person
    return str(int(rounded)) if rounded.is_integer() and abs(rounded) < 1e15 else str(rounded)
