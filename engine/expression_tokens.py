"""What is refused by the words of an expression alone, before a tree is made of them."""

from collections.abc import Callable

from sqlglot import Token, TokenType

from engine.expression_kinds import FUNCTIONS, MANY, Rule, unknown
from engine.expression_nodes import Span

MAX_DEPTH = 32
ALLOWED = (
    "allowed are columns, numbers, 'text', TRUE, FALSE, NULL, DATE '...', TIMESTAMP '...', "
    "AND, OR, NOT, =, <>, <, <=, >, >=, BETWEEN, IN (values), LIKE 'pattern', IS NULL, "
    "+, -, *, /, %, CASE WHEN and the functions " + ", ".join(FUNCTIONS)
)
TOO_DEEP = f"expression nested too deep; at most {MAX_DEPTH} levels"
Report = Callable[[Span, str], None]

SYMBOLS = {
    TokenType.L_PAREN, TokenType.R_PAREN, TokenType.COMMA, TokenType.NUMBER, TokenType.STRING,
    TokenType.IDENTIFIER, TokenType.EQ, TokenType.NEQ, TokenType.LT, TokenType.LTE, TokenType.GT,
    TokenType.GTE, TokenType.PLUS, TokenType.DASH, TokenType.STAR, TokenType.SLASH, TokenType.MOD,
}  # fmt: skip
BEFORE_PARENTHESIS = {
    TokenType.AND, TokenType.OR, TokenType.NOT, TokenType.IN, TokenType.BETWEEN, TokenType.LIKE,
    TokenType.CASE, TokenType.WHEN, TokenType.THEN, TokenType.ELSE,
}  # fmt: skip
"""Words that may stand before a parenthesis without calling a function."""
SYNONYMS = {"==": "=", "ISNULL": "IS NULL", "NOTNULL": "IS NOT NULL"}
PREFIXES = {TokenType.NOT, TokenType.DASH, TokenType.PLUS}


def check_tokens(tokens: list[Token], report: Report) -> None:
    """Report comments, symbols and functions that are not allowed, wrong numbers of arguments.

    Nesting deeper than ``MAX_DEPTH`` is reported too, so that the parser's recursion is bounded.
    """
    if not tokens:
        report(Span(), f"no expression; {ALLOWED}")
    brackets: list[_Bracket] = []
    prefixes = 0
    for at, token in enumerate(tokens):
        span = Span(token.start, token.end + 1)
        message = _refused(token)
        if message:
            report(span, message)
        if token.comments:
            report(span, "comment in an expression; write it in the job file, after #")
        before = tokens[at - 1] if at else None
        if token.token_type == TokenType.L_PAREN and before is not None and _calls(before):
            called = Span(before.start, before.end + 1)
            if before.token_type == TokenType.IDENTIFIER:
                report(called, "a name in double quotes is no function; write it without quotes")
            elif before.text.upper() not in FUNCTIONS:
                report(called, unknown("function", before.text, FUNCTIONS))
            empty = at + 1 < len(tokens) and tokens[at + 1].token_type == TokenType.R_PAREN
            brackets.append(_Bracket(token, before.text.upper(), before.start, 0 if empty else 1))
        else:
            _track(brackets, token, report)
        prefixes = prefixes + 1 if token.token_type in PREFIXES else 0
        if len(brackets) + prefixes > MAX_DEPTH:
            report(span, TOO_DEEP)
            return


class _Bracket:
    """An open parenthesis or CASE, and the arguments seen in it if it calls a function."""

    def __init__(
        self, token: Token, function: str = "", start: int = 0, arguments: int = 0
    ) -> None:
        self.kind = token.token_type
        self.function = function
        self.start = start
        self.arguments = arguments


def _refused(token: Token) -> str:
    """Return what is wrong with a token by itself, or nothing."""
    kind, text = token.token_type, token.text
    if kind.name.endswith("STRING") and kind != TokenType.STRING:
        return "another way to write text; write it in single quotes"
    if kind == TokenType.SEMICOLON:
        return "more than one statement; write one expression, without ;"
    if kind != TokenType.STRING and kind != TokenType.IDENTIFIER and text.upper() in SYNONYMS:
        return f"{text} is not allowed; write {SYNONYMS[text.upper()]}"
    return "" if kind in SYMBOLS or _is_word(token) else f"{text} is not allowed; {ALLOWED}"


def _is_word(token: Token) -> bool:
    return token.text[:1].isalpha() or token.text[:1] == "_"


def _calls(token: Token) -> bool:
    """Return whether a token before a parenthesis calls a function."""
    if token.token_type == TokenType.IDENTIFIER:
        return True
    return _is_word(token) and token.token_type not in SYMBOLS | BEFORE_PARENTHESIS


def _track(brackets: list[_Bracket], token: Token, report: Report) -> None:
    """Open or close a bracket, or count one argument more in the innermost."""
    kind = token.token_type
    inner = brackets[-1] if brackets else None
    if kind in {TokenType.L_PAREN, TokenType.CASE}:
        brackets.append(_Bracket(token))
    elif inner is not None and kind == TokenType.COMMA:
        inner.arguments += 1
    elif inner is not None and kind == TokenType.END and inner.kind == TokenType.CASE:
        brackets.pop()
    elif inner is not None and kind == TokenType.R_PAREN and inner.kind == TokenType.L_PAREN:
        brackets.pop()
        rule = FUNCTIONS.get(inner.function)
        if rule and not rule.fewest <= inner.arguments <= rule.most:
            report(
                Span(inner.start, token.end + 1),
                f"{inner.function} of {inner.arguments} arguments; it takes {_number(rule)}",
            )


def _number(rule: Rule) -> str:
    if rule.most == MANY:
        return f"{rule.fewest} or more"
    return str(rule.most) if rule.fewest == rule.most else f"{rule.fewest} or {rule.most}"
