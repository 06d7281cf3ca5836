"""Numbers in American English words: cardinals, ordinals, years, digits one by one, Roman numerals.

No word joins the hundreds: 123 is "one hundred twenty three", as it is read in the United States.
"""

from __future__ import annotations

import re

from vocoder.text.tables import table

__all__ = ["cardinal", "decimal", "digits", "ordinal", "ordinal_of", "plural", "roman", "year"]

_ONES = (
    *(
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    ),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES = ("", "thousand", "million", "billion", "trillion", "quadrillion", "quintillion")
_IRREGULAR = table(
    """
    one first, two second, three third, five fifth, eight eighth, nine ninth, twelve twelfth
    """
)
LONGEST = 3 * len(_SCALES)  # digits that are read as one number; more are read one by one
_ROMAN = re.compile(r"M{0,3}(CM|CD|D?C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def cardinal(number: str) -> list[str]:
    """The words of a whole number of digits, commas allowed; with a leading zero, or very long, digit by
    digit.

    >>> " ".join(cardinal("1,023"))
    'one thousand twenty three'
    """
    plain = number.replace(",", "")
    if (len(plain) > 1 and plain[0] == "0") or len(plain) > LONGEST:
        return digits(plain)
    if int(plain) == 0:
        return ["zero"]
    groups = [plain[max(0, end - 3) : end] for end in range(len(plain), 0, -3)]
    words = [
        _hundreds(int(group)) + [_SCALES[scale]] * bool(scale)
        for scale, group in enumerate(groups)
        if int(group)
    ]
    return [word for group in reversed(words) for word in group]


def _hundreds(number: int) -> list[str]:
    words = [_ONES[number // 100], "hundred"] if number >= 100 else []
    return words + _below_hundred(number % 100)


def _below_hundred(number: int) -> list[str]:
    if number < 20:
        return [_ONES[number]] if number else []
    return [_TENS[number // 10], *_below_hundred(number % 10)]


def digits(number: str) -> list[str]:
    """Each digit by itself."""
    return [_ONES[int(digit)] for digit in number if digit.isdigit()]


def decimal(number: str) -> list[str]:
    """A number with at most one point: 3.05 is three point zero five, -2 minus two, .5 point five."""
    sign = ["minus"] if number[:1] == "-" else ["plus"] if number[:1] == "+" else []
    before, point, after = number.lstrip("+-").partition(".")
    return (
        sign + (cardinal(before) if before else []) + (["point", *digits(after)] if point and after else [])
    )


def ordinal(number: str) -> list[str]:
    """The words of the ordinal: 21 is twenty first."""
    return ordinal_of(cardinal(number))


def ordinal_of(words: list[str]) -> list[str]:
    """The ordinal of a cardinal's words."""
    last = words[-1]
    regular = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return [*words[:-1], _IRREGULAR.get(last, regular)]


def year(number: str) -> list[str]:
    """A year of one to four digits: 1999 is nineteen ninety nine, 1905 nineteen oh five, 2005 two thousand
    five.

    >>> [" ".join(year(each)) for each in ("1900", "1066", "2024")]
    ['nineteen hundred', 'ten sixty six', 'twenty twenty four']
    """
    high, low = divmod(int(number), 100)
    if len(number) != 4 or (high % 10 == 0 and low < 10):
        return cardinal(str(int(number)))
    if low == 0:
        return [*_below_hundred(high), "hundred"]
    return _below_hundred(high) + (["oh", _ONES[low]] if low < 10 else _below_hundred(low))


def plural(words: list[str]) -> list[str]:
    """The last word in the plural: twenties, hundreds, sixes."""
    last = words[-1]
    if last.endswith("y"):
        return [*words[:-1], last[:-1] + "ies"]
    return [*words[:-1], last + ("es" if last.endswith(("x", "s")) else "s")]


def roman(numeral: str) -> int | None:
    """The value of a well-formed Roman numeral in capitals up to 3999; None of anything else.

    >>> roman("XIV"), roman("IIX"), roman("")
    (14, None, None)
    """
    if not numeral or len(numeral) > 15 or not _ROMAN.fullmatch(numeral):
        return None
    values = [_ROMAN_VALUES[letter] for letter in numeral]
    return sum(
        -value if value < after else value for value, after in zip(values, [*values[1:], 0], strict=True)
    )
