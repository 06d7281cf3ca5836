"""Money, percentages, measures, temperatures, heights: a number, and the unit that it counts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vocoder.text.chunk import Chunk, Reading, core
from vocoder.text.numerals import cardinal, decimal
from vocoder.text.tables import rows, table, word_set

__all__ = ["height", "measure", "money"]

_NUMBER = r"[+-]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)"
_MONEY = re.compile(
    rf"(-)?(US|A|C|HK|NZ)?([$£€¥₹])(\d[\d,]*)?(\.\d+)?(k|K|m|M|mn|bn|B|b|tn|T)?(?:([-–])[$£€¥₹]?({_NUMBER}))?"
)
_CENTS = re.compile(rf"({_NUMBER})¢")
_CURRENCIES = rows(
    """
    $ dollar|dollars|cent|cents, £ pound|pounds|penny|pence, € euro|euros|cent|cents, ¥
    yen|yen|sen|sen, ₹ rupee|rupees|paisa|paise
    """
)
_SCALES = table(
    """
    k thousand, m million, mn million, b billion, bn billion, t trillion, tn trillion
    """
)
_SMALL = word_set("of or and to more less per in on at from for with by a an the is was each")
_SCALE_WORDS = word_set(
    """
    billion hundred million thousand trillion
    """
)
_NATIONS = {
    "US": ["U", "S"],
    "A": ["Australian"],
    "C": ["Canadian"],
    "HK": ["Hong", "Kong"],
    "NZ": ["New", "Zealand"],
}

# As written → singular, plural.
_UNITS = rows(
    """
    mm millimeter|millimeters, cm centimeter|centimeters, m meter|meters, km kilometer|kilometers, μm
    micrometer|micrometers, nm nanometer|nanometers, mi mile|miles, yd yard|yards, ft foot|feet, inch
    inch|inches, mg milligram|milligrams, μg microgram|micrograms, g gram|grams, kg kilogram|kilograms,
    lb pound|pounds, lbs pound|pounds, oz ounce|ounces, ml milliliter|milliliters, mL
    milliliter|milliliters, cl centiliter|centiliters, L liter|liters, l liter|liters, gal
    gallon|gallons, qt quart|quarts, pt pint|pints, tsp teaspoon|teaspoons, tbsp tablespoon|tablespoons,
    ms millisecond|milliseconds, μs microsecond|microseconds, ns nanosecond|nanoseconds, s
    second|seconds, sec second|seconds, secs second|seconds, min minute|minutes, mins minute|minutes, h
    hour|hours, hr hour|hours, hrs hour|hours, yr year|years, yrs year|years, wk week|weeks, mo
    month|months, Hz hertz|hertz, kHz kilohertz|kilohertz, MHz megahertz|megahertz, GHz
    gigahertz|gigahertz, dB decibel|decibels, W watt|watts, kW kilowatt|kilowatts, MW
    megawatt|megawatts, kWh kilowatt hour|kilowatt hours, V volt|volts, kV kilovolt|kilovolts, mA
    milliamp|milliamps, mAh milliamp hour|milliamp hours, J joule|joules, kJ kilojoule|kilojoules, cal
    calorie|calories, kcal kilocalorie|kilocalories, N newton|newtons, Pa pascal|pascals, kPa
    kilopascal|kilopascals, psi P S I|P S I, bit bit|bits, kB kilobyte|kilobytes, KB kilobyte|kilobytes,
    MB megabyte|megabytes, GB gigabyte|gigabytes, TB terabyte|terabytes, Mbps megabit per
    second|megabits per second, Gbps gigabit per second|gigabits per second, kbps kilobit per
    second|kilobits per second, fps frame per second|frames per second, mph mile per hour|miles per
    hour, rpm R P M|R P M, kph kilometer per hour|kilometers per hour, mpg mile per gallon|miles per
    gallon, dpi D P I|D P I, px pixel|pixels, pct percent|percent, ha hectare|hectares, %
    percent|percent, ° degree|degrees, °C degree Celsius|degrees Celsius, °F degree Fahrenheit|degrees
    Fahrenheit, USD U S dollar|U S dollars, EUR euro|euros, GBP pound|pounds, sq square|square, cu
    cubic|cubic, Ω ohm|ohms, ohm ohm|ohms
    """
)
_ATTACHED_ONLY = frozenset(
    ["s", "m", "h", "l", "W", "V", "N", "J", "g", "L", "°"]
)  # one letter: only with capitals or joined
_MEASURE = re.compile(rf"({_NUMBER})[-–]?(°?[A-Za-zμ%Ω°]*?)(2|3|\^2|\^3)?(?:/([a-zA-Z]+))?")
_RANGE = re.compile(rf"({_NUMBER})([-–])({_NUMBER})(%|°[CF]?|[a-zA-Zμ]+)")
_SPREAD = re.compile(rf"({_NUMBER})[-–]({_NUMBER})")
_HEIGHT = re.compile(r"(\d{1,2})'(\d{1,2})?")


def _is_adjective(chunks: Sequence[Chunk], place: int, used: int) -> bool:
    """Whether the amount says which: a five dollar bill, a ten kilometer run."""
    following = core(chunks, place + used)
    plain = following.isalpha() and following.islower() and following not in _SMALL
    return plain and core(chunks, place - 1).lower() == "a" and not chunks[place + used - 1].ends_clause


def money(chunks: Sequence[Chunk], place: int) -> Reading | None:
    """$3.50 · £5 · $1.5 million · €20bn · 50¢."""
    text = core(chunks, place)
    if found := _CENTS.fullmatch(text):
        return Reading([*decimal(found[1]), "cent" if found[1] == "1" else "cents"])
    found = _MONEY.fullmatch(text)
    if found is None or not (found[4] or found[5]):
        return None
    minus, nation = ["minus"] * bool(found[1]), _NATIONS.get(found[2] or "", [])
    whole, fraction, scale = found[4] or "0", found[5] or "", _SCALES.get((found[6] or "").lower(), "")
    used = 1
    if not scale and not chunks[place].tail and core(chunks, place + 1) in _SCALE_WORDS:
        scale, used = core(chunks, place + 1), 2
    if found[8]:
        return Reading(
            [*decimal(whole + fraction), "to", *decimal(found[8]), *scale.split(), _CURRENCIES[found[3]][1]],
            used=used,
        )
    names = _CURRENCIES[found[3]]
    if _is_adjective(chunks, place, used):
        return Reading([*minus, *decimal(whole + fraction), *scale.split(), *nation, names[0]], used=used)
    if scale or len(fraction) not in (0, 3):
        return Reading(
            [*minus, *decimal(whole + fraction), *scale.split(), *nation, _CURRENCIES[found[3]][1]], used=used
        )
    return Reading([*minus, *_sum(whole, fraction[1:], _CURRENCIES[found[3]], nation)])


def _sum(whole: str, fraction: str, names: Sequence[str], nation: list[str]) -> list[str]:
    """Three dollars and fifty cents; either part alone where the other is nothing."""
    one, many, coin, coins = names
    major = [*cardinal(whole), *nation, one if whole == "1" else many]
    if not int(fraction or 0):
        return major
    minor = [*cardinal(str(int(fraction))), coin if int(fraction) == 1 else coins]
    return minor if not int(whole.replace(",", "")) else [*major, "and", *minor]


def measure(chunks: Sequence[Chunk], place: int) -> Reading | None:
    """5 km · 60mph · 20°C · 10% · 5-10 kg · 3 m/s · 20 m²."""
    text = core(chunks, place)
    if found := _RANGE.fullmatch(text):
        unit = _unit(found[4], "", "", one=False)
        return Reading([*decimal(found[1]), "to", *decimal(found[3]), *unit]) if unit else None
    if found := _SPREAD.fullmatch(text):
        return _apart(chunks, place, [*decimal(found[1]), "to", *decimal(found[2])], one=False)
    found = _MEASURE.fullmatch(text)
    if found is None or (text[-1:].isdigit() and found[3] and found[2] == ""):
        return None
    if found[2] in ("M", "B") and "." in found[1] and not found[3]:
        return Reading([*decimal(found[1]), "million" if found[2] == "M" else "billion"])
    number, one = found[1], found[1] in ("1", "-1", "1.0")
    if found[2]:
        unit = _unit(found[2], found[3], found[4], one=one)
        return Reading([*decimal(number), *unit]) if unit else None
    return _apart(chunks, place, decimal(number), one=one) if not found[4] else None


def _apart(chunks: Sequence[Chunk], place: int, number: list[str], *, one: bool) -> Reading | None:
    """A number, and its unit behind a space; a dot behind the unit may be the unit's."""
    if core(chunks, place + 1) == "in" and chunks[place + 1].tail.startswith(".") and not chunks[place].tail:
        return Reading([*number, "inch" if one else "inches"], used=2, dot=True, may_end=True)
    following = _MEASURE.fullmatch("0" + core(chunks, place + 1))
    if following is None or chunks[place].tail or not following[2]:
        return None
    if following[2] in ("sq", "cu") and (whole := _UNITS.get(core(chunks, place + 2))):
        shape = _UNITS[following[2]][0]
        return Reading([*number, shape, *whole[0 if one else 1].split()], used=3, dot=True, may_end=True)
    if following[2] in _ATTACHED_ONLY and following[2] in ("s", "h", "N", "J") and "point" not in number:
        return None
    one = one or _is_adjective(chunks, place, 2)
    unit = _unit(following[2], following[3], following[4], one=one)
    dot = chunks[place + 1].tail.startswith(".") and following[2] in (
        "ft",
        "lb",
        "lbs",
        "oz",
        "min",
        "sec",
        "hr",
        "hrs",
        "sq",
        "yd",
        "mi",
    )
    return Reading([*number, *unit], used=2, dot=dot, may_end=True) if unit else None


def _unit(name: str, power: str | None, per: str | None, *, one: bool) -> list[str] | None:
    if name not in _UNITS or (per and per not in _UNITS):
        return None
    shape = {"2": "square", "3": "cubic"}.get((power or "").lstrip("^"), "")
    over = ["per", *_UNITS[per][0].split()] if per else []
    return [*shape.split(), *_UNITS[name][0 if one else 1].split(), *over]


def height(chunks: Sequence[Chunk], place: int) -> Reading | None:
    """5'10": feet and inches."""
    found = _HEIGHT.fullmatch(core(chunks, place))
    if found is None:
        return None
    feet = [*cardinal(found[1]), "foot" if found[1] == "1" else "feet"]
    return Reading(
        feet if not found[2] else [*feet, *cardinal(found[2]), "inch" if found[2] == "1" else "inches"]
    )
