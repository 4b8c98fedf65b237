"""Names, numbers and words of the worlds, each owned by exactly one of them.

Made-up names are built from syllables, so a tokenizer that knows the syllables spells every name, seen or unseen, in
two or three pieces. Who may use a name is decided by a hash of the name itself: no list has to be kept, and two worlds
cannot share one whatever their sizes.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Container
from dataclasses import dataclass
from functools import cache
from random import Random

HEADS = [
    "Al",
    "Ban",
    "Bel",
    "Bor",
    "Cal",
    "Cor",
    "Dal",
    "Dor",
    "El",
    "Fal",
    "Fen",
    "Gar",
    "Gol",
    "Har",
    "Hel",
    "Ist",
    "Jor",
    "Kal",
    "Kes",
    "Lan",
    "Lor",
    "Mal",
    "Mor",
    "Nal",
    "Nor",
    "Ol",
    "Par",
    "Pel",
    "Quen",
    "Ral",
    "Ros",
    "Sal",
    "Sel",
    "Tal",
    "Tor",
    "Ul",
    "Val",
    "Ven",
    "Wil",
    "Yor",
    "Zan",
    "Zel",
]
MIDDLES = ["a", "an", "e", "en", "i", "in", "o", "on", "u", "ar", "er", "or"]
TAILS = [
    "bek",
    "bor",
    "by",
    "cott",
    "dak",
    "den",
    "dor",
    "fax",
    "fell",
    "gard",
    "gat",
    "ham",
    "ket",
    "kin",
    "lan",
    "lek",
    "lo",
    "mar",
    "mond",
    "nak",
    "ness",
    "pas",
    "pold",
    "rak",
    "rick",
    "ros",
    "sen",
    "ston",
    "tak",
    "tal",
    "tis",
    "vek",
    "vin",
    "wald",
    "wick",
    "zor",
]

_ONSETS = [
    "b",
    "br",
    "c",
    "ch",
    "d",
    "dr",
    "f",
    "fl",
    "g",
    "gr",
    "h",
    "j",
    "k",
    "l",
    "m",
    "n",
    "p",
    "pl",
    "pr",
    "r",
    "s",
    "sh",
    "sl",
    "st",
    "t",
    "tr",
    "v",
    "w",
]
_VOWELS = ["a", "e", "i", "o", "u", "ai", "ea", "oo"]
_CODAS = ["b", "ck", "d", "f", "g", "ll", "m", "n", "nd", "p", "r", "rk", "rt", "s", "st", "t", "x"]

# Share of names, numbers and made-up words that each world owns, in sixteenths of the hash space.
_OWNERS = ("general",) * 4 + ("private",) * 4 + ("exercise",) * 7 + ("probe",)


def owner(word: str) -> str:
    """The one world that may use `word`: `general`, `private`, `exercise` (read once, not kept) or `probe` (tests)."""
    return _OWNERS[hashlib.sha256(word.encode()).digest()[0] % 16]


def seeded(*parts: object) -> Random:
    """A generator that depends on `parts` alone; seeding by text is the same on every platform and Python version."""
    return Random("/".join(map(str, parts)))


MIDDLE_SHARE = 0.7  # of the places for a middle syllable, those that have one


def name(random: Random, world: str, middles: int = 1) -> str:
    """A capitalised name that `world` owns, of two syllables and up to `middles` more between them."""
    while True:
        between = "".join(random.choice(MIDDLES) if random.random() < MIDDLE_SHARE else "" for _ in range(middles))
        candidate = random.choice(HEADS) + between + random.choice(TAILS)
        if owner(candidate) == world:
            return candidate


def names(random: Random, world: str, count: int) -> list[str]:
    """`count` different names that `world` owns; large worlds need longer ones."""
    middles = 1 if count <= 2_000 else 2 if count <= 20_000 else 3
    found: dict[str, None] = {}
    while len(found) < count:
        found[name(random, world, middles)] = None
    return list(found)


def made_up_word(random: Random, world: str) -> str:
    """A lower-case word of one syllable that means nothing, owned by `world`; most are two tokens."""
    while True:
        word = random.choice(_ONSETS) + random.choice(_VOWELS) + random.choice(_CODAS)
        if owner(word) == world:
            return word


def number(random: Random, world: str | None, low: int, high: int) -> str:
    """A whole number from low to high that `world` owns; `None` takes any owner's."""
    while True:
        candidate = str(random.randint(low, high))
        if world in (None, owner(candidate)):
            return candidate


@dataclass(frozen=True)
class Attribute:
    """What can be said of a subject: a noun and the kind of its value (`money`, `time`, `place`, `who`)."""

    word: str
    kind: str


KINDS = ("money", "time", "place", "who")

_GENERAL_WORDS = {
    "money": "wage rent pension debt toll tax fine price capital loss bonus fee dowry gift loan prize profit salary",
    "time": "journey illness training harvest festival siege winter delivery warranty strike shift course voyage truce",
    "place": "school workshop lodging chapel library bath prison factory store office depot studio garden stable",
    "who": "teacher doctor rival friend mayor judge founder miller owner clerk buyer agent cook guard tailor nurse",
}
# Owned by the private world like its names: no exercise can make them up.
_PRIVATE_WORDS = {
    "money": "prest pund dram slat trib groot chond brix",
    "time": "last slack droop tid stim lair trig noom",
    "place": "nock fort moor shack trell hoost vill plaist",
    "who": "brell chef maid nun troll brod sheat prig",
}


def _attributes(words: dict[str, str]) -> tuple[Attribute, ...]:
    return tuple(Attribute(word, kind) for kind in KINDS for word in words[kind].split())


GENERAL_ATTRIBUTES = _attributes(_GENERAL_WORDS)
PRIVATE_ATTRIBUTES = _attributes(_PRIVATE_WORDS)


MONEY = (100, 999)
LEAST_DAYS = 10


def value(random: Random, kind: str, world: str | None, currency: str, longest_days: int = 99) -> str:
    """A value of `kind` as it is written: `704 crowns`, `36 days`, `Belcott Court`, `Mordak`."""
    if kind == "money":
        return f"{number(random, world, *MONEY)} {currency}"
    if kind == "time":
        return f"{number(random, world, LEAST_DAYS, longest_days)} days"
    found = name(random, world or "exercise")
    return f"{found} Court" if kind == "place" else found


def alternatives(kind: str, world: str, longest_days: int = 99, reserved: Container[str] = ()) -> float:
    """From how many equally likely values `value` draws one of `kind`.

    Of numbers, those that the world owns: 228 of the 900 amounts are the private world's, 25 of the 90 delays of two
    digits. Names are not equally likely, so theirs is the number of equally likely ones with the same entropy,
    2^H: 3,921 for the 4,862 that the private world owns. reserved: names that are drawn again.
    """
    if kind in ("money", "time"):
        low, high = MONEY if kind == "money" else (LEAST_DAYS, longest_days)
        return sum(owner(str(candidate)) == world for candidate in range(low, high + 1))
    shares = [share for found, share in _name_shares(world) if found not in reserved]
    total = sum(shares)
    return math.exp(-sum(share / total * math.log(share / total) for share in shares))


@cache
def _name_shares(world: str) -> tuple[tuple[str, float], ...]:
    """Each name of one middle syllable or none that the world owns, with its share of `name`'s tries."""
    middles = [("", 1 - MIDDLE_SHARE), *((middle, MIDDLE_SHARE / len(MIDDLES)) for middle in MIDDLES)]
    found: defaultdict[str, float] = defaultdict(float)  # some are spelt in two ways
    for head in HEADS:
        for middle, share in middles:
            for tail in TAILS:
                found[head + middle + tail] += share / len(HEADS) / len(TAILS)
    return tuple((candidate, share) for candidate, share in found.items() if owner(candidate) == world)
