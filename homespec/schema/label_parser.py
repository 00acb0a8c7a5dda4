"""Stage 2, schema: parses the text of a label. It is never evaluated as code.

label   = value [test]
value   = operand [("+" | "-" | "*" | "/") operand]
operand = column | number
test    = (">=" | "<=" | ">" | "<" | "==" | "!=") value
        | ("==" | "!=") text
        | ["not"] "in" "[" item {"," item} "]"
        | "is" ["not"] "null"
column  = identifier | "`" characters "`"
item    = number | text | identifier, which is a text here
"""

from __future__ import annotations

from typing import cast, get_args

from homespec.schema.label_tokens import LabelError, Token, tokens
from homespec.schema.labels import (
    Among,
    Arithmetic,
    ArithmeticOp,
    Column,
    Compared,
    Label,
    Missing,
    Op,
    Value,
    written,
)

CONSTANTS = ("true", "false", "null", "none", "nan")
"""Words that look like columns, but never mean one."""
OPS = get_args(Op)
ARITHMETIC = get_args(ArithmeticOp)
MAX_NUMBER = 2**53
"""Columns are compared as float64, which does not represent every integer from this number."""
BLANKS = " \t\n\v\f\r"
"""Characters that are ignored around a text, in labels and in cells."""
SLIPS = {"=>": ">=", "=<": "<=", "<>": "!=", "=": "==", "===": "==", "!==": "!="}
CONNECTIVES = ("and", "or", "not", "&", "|")
PREPARE = "compute such a column when you prepare the data"


def parse_label(text: str) -> Label:
    """Parse `is_click`, `stay_time > 0`, `play_ms / duration_ms >= 0.8`, `country in [US, DE]`.

    Raises LabelError with a reason for the user, and its place.
    """
    return _Parser(text).label()


class _Parser:
    """Parses the words of one label in a single pass."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.rest = list(tokens(text))[::-1]

    @property
    def next(self) -> Token:
        return self.rest[-1]

    def take(self) -> Token:
        """Consume and return the next word; the end is not consumed."""
        return self.rest.pop() if len(self.rest) > 1 else self.rest[-1]

    def takes(self, *values: str) -> bool:
        """Whether the next word or sign is one of these; if so, consume it."""
        is_so = self.next.kind in ("word", "op", "sign") and self.next.value in values
        if is_so:
            self.take()
        return is_so

    def label(self) -> Label:
        first = self.next
        value = self.value()
        test = self.test(value)
        if self.next.kind != "end":
            raise self.unexpected()
        label = Label(value, test)
        if isinstance(value, float):
            reason = "begins with a number; put the column first" if test else "is a number"
            raise first.wrong(f"it {reason}")
        if not label.columns:
            raise first.wrong("it does not name a column")
        return label

    def unexpected(self) -> LabelError:
        """Why nothing may follow in a label that could end here."""
        token = self.next
        if token.kind in ("word", "sign") and token.value in CONNECTIVES:
            return token.wrong(f"it combines conditions; {PREPARE}")
        if token.kind == "sign" and token.value == "(":
            return token.wrong("labels cannot call functions")
        if token.kind == "sign" and token.value in ARITHMETIC:
            return token.wrong(f"a value combines two columns or numbers; {PREPARE}")
        if token.kind == "op":
            return token.wrong("a label can have only one comparison")
        return token.wrong(f"{token.shown} cannot follow here")

    def value(self) -> Value:
        left = self.operand()
        sign = self.next
        if not self.takes(*ARITHMETIC):
            return left
        divisor, right = self.next, self.operand()
        if sign.value == "/" and right == 0:
            raise divisor.wrong("it divides by 0, so no row would have a label")
        return Arithmetic(left, cast("ArithmeticOp", sign.value), right)

    def operand(self) -> Column | float:
        first = self.next
        sign = "-" if self.takes("-") else ""
        signed = sign or self.takes("+")
        token = self.next
        if token.kind == "number":
            return self.number(sign)
        if signed or token.kind not in ("word", "column"):
            raise self.no_operand(first)
        return self.column()

    def no_operand(self, first: Token) -> LabelError:
        token = self.next
        if token.kind == "text" and first is token:
            return token.wrong(
                f"{token.value!r} is text, not a column; put a column name that is not a plain "
                f"word in backticks: `{token.value}`"
            )
        return token.wrong(f"expected a column or a number, not {token.shown}")

    def number(self, sign: str) -> float:
        token = self.take()
        number = float(sign + token.value)
        if not abs(number) < MAX_NUMBER:
            raise token.wrong(
                f"{sign}{token.value} is not below 2^53 (9007199254740992) in size, and float64 "
                f"skips integers above that; {PREPARE}"
            )
        return number

    def column(self) -> Column:
        token = self.take()
        if token.kind == "word" and token.value.lower() in CONSTANTS:
            raise token.wrong(
                f"`{token.value}` is not a column; labels are 0 and 1, so `is_click` is enough"
            )
        if token.kind == "word" and token.value in CONNECTIVES:
            raise token.wrong(f"it combines conditions; {PREPARE}")
        if not token.value.strip():
            raise token.wrong("expected the name of a column between the backticks")
        return Column(token.value)

    def test(self, value: Value) -> Compared | Among | Missing | None:
        token = self.next
        if token.kind == "op":
            return self.comparison(value)
        if self.takes("is"):
            negated = self.takes("not")
            if not (self.next.kind == "word" and self.next.value.lower() in ("null", "none")):
                raise self.next.wrong(
                    f"`is` must be followed by `null` or `not null`, not {self.next.shown}"
                )
            self.take()
            self.of_column(value, token)
            return Missing(negated)
        negated = token.value == "not" and len(self.rest) > 1 and self.rest[-2].value == "in"
        if negated:
            self.take()
        if self.takes("in"):
            self.of_column(value, token)
            return Among(self.items(), negated)
        return None

    def of_column(self, value: Value, test: Token) -> None:
        """Raise LabelError unless the tested value is a column."""
        if not isinstance(value, Column):
            raise test.wrong(f"only a column can be tested like this, not `{written(value)}`")

    def comparison(self, value: Value) -> Compared | Among:
        token = self.take()
        if token.value in SLIPS:
            better = self.text[: token.at] + SLIPS[token.value]
            better += self.text[token.at + token.length :]
            raise token.wrong(f"it has an unknown comparison; write `{better.strip()}`")
        if token.value not in OPS:
            raise token.wrong(f"`{token.value}` is not a comparison; use one of {' '.join(OPS)}")
        if self.next.kind != "text":
            return Compared(cast("Op", token.value), self.value())
        if token.value not in ("==", "!="):
            raise token.wrong("text can only be compared with == and !=")
        self.of_column(value, token)
        return Among((self.text_item(),), token.value == "!=")

    def items(self) -> tuple[str, ...] | tuple[float, ...]:
        opening = self.next
        if not self.takes("["):
            raise opening.wrong(
                f"`in` must be followed by a list such as [US, DE], not {opening.shown}"
            )
        items = [self.item()]
        while self.takes(","):
            items.append(self.item())
        if not self.takes("]"):
            raise self.next.wrong(f"expected `,` or `]` in the list, not"
                                  f" {self.next.shown}")  # fmt: skip
        texts = tuple(item for item in items if isinstance(item, str))
        numbers = tuple(item for item in items if isinstance(item, float))
        if texts and numbers:
            raise opening.wrong(
                f"the list mixes text and numbers: quote {written(numbers[0])} if it is text"
            )
        return texts or numbers

    def item(self) -> str | float:
        token = self.next
        if token.kind in ("text", "word"):
            return self.text_item()
        sign = "-" if self.takes("-") else ""
        if self.next.kind == "number":
            return self.number(sign)
        raise token.wrong(f"expected text or a number, not {token.shown}")

    def text_item(self) -> str:
        token = self.take()
        bare = token.value.strip(BLANKS)
        if not bare or (token.kind == "word" and bare.lower() in CONSTANTS):
            said = f"`{bare}`" if bare else "an empty text"
            raise token.wrong(f"{said} is a missing value; write `is null` to test for it")
        return bare
