"""Whether text is English, told cheaply: by the small words that no language does without.

A check of a few hundred words, not a classifier: names, lists and short texts pass. It is there so that a
page of German is refused with a reason, and not read aloud as if it were English.
"""

from __future__ import annotations

import re
from collections import Counter

from vocoder.errors import InvalidInput
from vocoder.text.tables import word_set

__all__ = ["is_common", "require_english"]

_ENGLISH = word_set(
    """
    a about above after again alert all almost along already also always am among an and another any
    are around as ask at away back be because been before began being below best better between big
    both but buy by call came can can't come could danger day did didn't different do does doesn't
    don't done down each early end even ever every face far feel few find first for found free from
    full get give go going good goodbye got great had hand happy hard has have he hear heard hello
    help her here hi high him his home hope house how however i if important in into is isn't it its
    just keep kept kind knew know large last late later left less let life light like listen little
    long look looked love made make man many may me men might mind more most move mr mrs much must
    my near need never new next night no nor not nothing notice now of off often old on once one
    only open or other our out over own part people perhaps place play please put quite rather read
    really right run said sale same saw say see seem seen set she should show side since small so
    some something soon still stop such take tell than thank that the their them themselves then
    there these they thing think this those thought three through time to together told too took
    toward turn two under until up upon us use very wait want warning was wasn't water way we well
    went were what when where which while white who whole whose why will win wish with within
    without woman women won't word work world would year yes yet you young your
    """
)
# Words that English has not, or hardly, of the languages that are written with the same letters.
_OTHERS = {
    "German": word_set(
        """
        der die das und ist nicht ein eine ich sie mit auf den von zu dem sich auch wie wir
        aber noch nach bei oder hat wird sind
        """
    ),
    "French": word_set(
        """
        le la les des et est une dans que qui pour pas sur avec ce il elle nous vous mais ou du
        au je ne se plus sont cette
        """
    ),
    "Spanish": word_set(
        """
        el la los las que y en un una por con para es del se lo como pero sus mas esta son muy
        sin sobre todo fue hay
        """
    ),
    "Italian": word_set(
        """
        il lo gli che di e un una per con del della sono non si come piu anche ma nel alla
        questo questa era ho
        """
    ),
    "Portuguese": word_set(
        """
        o os as que e do da em um uma para com nao se por mais dos como mas foi ao ele das tem
        seu sua ou
        """
    ),
    "Dutch": word_set(
        """
        de het een en van ik te dat die in niet zijn is op aan met voor er maar om hem dan zou
        wat mijn ook naar wij heeft
        """
    ),
    "Swedish": word_set(
        """
        och att det som en av den med till har inte om ett han men var jag sig fran vi sa kan
        nar hon ska
        """
    ),
    "Danish or Norwegian": word_set(
        """
        og det at en den til er som av af de med han ikke der var jeg et har om vi min men sig
        fra hun kan
        """
    ),
    "Polish": word_set(
        """
        nie to sie na jest ze z do jak ale za co tak od po ja ma by juz tylko czy dla tego
        przez gdy bardzo
        """
    ),
    "Turkish": word_set(
        """
        bir ve bu da de ne icin gibi daha ben cok ama var sen mi olarak en kadar sonra degil
        """
    ),
    "Indonesian": word_set(
        """
        yang dan di itu dengan untuk tidak ini dari dalam akan pada juga saya ke karena ada
        mereka kami
        """
    ),
}
_SETS = {name: words - _ENGLISH for name, words in _OTHERS.items()}
_WORD = re.compile(r"[a-z']+")
ENOUGH, SAMPLED = 6, 4000  # words below which nothing is concluded; words that are looked at


def is_common(word: str) -> bool:
    """Whether a word in small letters is one of the commonest few hundred of English."""
    return word in _ENGLISH


def require_english(plain: str) -> None:
    """Refuse text, cleaned of accents, whose small words are another language's: `InvalidInput` names it.

    >>> require_english("Das ist nicht die Sprache, die ich auf dem Markt gelernt habe.")
    Traceback (most recent call last):
    vocoder.errors.InvalidInput: text looks like German; only English can be spoken
    """
    words = Counter(_WORD.findall(plain[: 20 * SAMPLED].lower()))
    total = words.total()
    if total < ENOUGH:
        return
    english = _share(words, _ENGLISH)
    other, name = max((_share(words, known), name) for name, known in _SETS.items())
    if other >= max(2, 0.15 * total) and other > 2 * english:
        raise InvalidInput(f"text looks like {name}; only English can be spoken")


def _share(words: Counter[str], known: frozenset[str]) -> int:
    return sum(count for word, count in words.items() if word in known)
