"""The text of labels."""

from __future__ import annotations

import pytest

from homespec.schema.label_parser import parse_label
from homespec.schema.label_tokens import LabelError
from homespec.schema.labels import Among, Arithmetic, Column, Compared, Label, Missing

X, Y = Column("x"), Column("y")


@pytest.mark.parametrize(
    ("text", "label", "spelling"),
    [
        ("is_click", Label(Column("is_click")), "is_click"),
        (" is_click ", Label(Column("is_click")), "is_click"),
        ("x>=y", Label(X, Compared(">=", Y)), "x >= y"),
        ("x > 0", Label(X, Compared(">", 0.0)), "x > 0"),
        ("x<=-1.5e3", Label(X, Compared("<=", -1500.0)), "x <= -1500"),
        ("x != .1", Label(X, Compared("!=", 0.1)), "x != 0.1"),
        ("x >+ 1", Label(X, Compared(">", 1.0)), "x > 1"),
        ("a.b == 1234567", Label(Column("a.b"), Compared("==", 1234567.0)), "a.b == 1234567"),
        ("`a b`>`x`", Label(Column("a b"), Compared(">", X)), "`a b` > x"),
        ("x-y", Label(Arithmetic(X, "-", Y)), "x - y"),
        ("x - -1", Label(Arithmetic(X, "-", -1.0)), "x - -1"),
        ("x/y>=.8", Label(Arithmetic(X, "/", Y), Compared(">=", 0.8)), "x / y >= 0.8"),
        ("2 *x < y+ 1", Label(Arithmetic(2.0, "*", X), Compared("<", Arithmetic(Y, "+", 1.0))),
         "2 * x < y + 1"),
        ("x == ' a b'", Label(X, Among(("a b",))), 'x == "a b"'),
        ("x != 'say \"a\"'", Label(X, Among(('say "a"',), True)), "x != 'say \"a\"'"),
        ("x in [ a,'b c' ]", Label(X, Among(("a", "b c"))), 'x in ["a", "b c"]'),
        ("x not in [1, -2]", Label(X, Among((1.0, -2.0), True)), "x not in [1, -2]"),
        ("x is null", Label(X, Missing()), "x is null"),
        ("x is not None", Label(X, Missing(True)), "x is not null"),
        ("is is null", Label(Column("is"), Missing()), "is is null"),
    ],
)  # fmt: skip
def test_parse(text: str, label: Label, spelling: str) -> None:
    assert parse_label(text) == label
    assert str(label) == spelling
    assert parse_label(spelling) == label


@pytest.mark.parametrize(
    ("text", "reason", "at"),
    [
        ("", "expected a column or a number, not the end", 0),
        ("a b", "`b` cannot follow here", 2),
        ("a > ", "expected a column or a number, not the end", 4),
        ("a > b > c", "a label can have only one comparison", 6),
        ("f(a)", "labels cannot call functions", 1),
        ("a > 'x'", "compared with == and !=", 2),
        ("a / b / c", "combines two columns", 6),
        ("a + b in [1]", "only a column can be tested like this, not `a . b`", 6),
        ("a + b is null", "only a column can be tested like this", 6),
        ("a in b", "must be followed by a list", 5),
        ("a in []", "expected text or a number, not `]`", 6),
        ("a in [b, 1]", "mixes text and numbers: quote 1", 5),
        ("a in [b", "expected `,` or `]` in the list, not the end", 7),
        ("a in [null]", "`null` is a missing value; write `is null`", 6),
        ("a == ''", "an empty text is a missing value", 5),
        ("a is 1", "must be followed by `null` or `not null`", 5),
        ("`a > 1", "the column that begins here", 0),
        ('a == "b', "the text that begins here", 5),
        ("``", "between the backticks", 0),
        ("'a' == 1", "'a' is text, not a column", 0),
        ("a % 2", "`%` has no meaning", 2),
        ("1 + 2 > 0", "it does not name a column", 0),
        ("7", "it is a number", 0),
        ("a / 0 > 1", "it divides by 0", 4),
        ("a > 1 / -.0", "it divides by 0", 8),
        ("a > 9007199254740992", "not below 2.53", 4),
        ("a == - b", "expected a column or a number, not `b`", 7),
        ("1 < a", "put the column first", 0),
        ("a = 1", "write `a == 1`", 2),
        ("a => 1", "write `a >= 1`", 2),
        ("a > 0 and b", "combines conditions", 6),
        ("a > 0 | b", "combines conditions", 6),
        ("not a", "combines conditions", 0),
        ("is_click == true", "`true` is not a column", 12),
        ("False", "`False` is not a column", 0),
    ],
)
def test_what_is_no_label(text: str, reason: str, at: int) -> None:
    with pytest.raises(LabelError, match=reason) as caught:
        parse_label(text)
    assert caught.value.at == at
