"""Keeps keys off the command line: its words are written to `.hydra/`, and manifest and reports repeat them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lab.records import LabError

NAMES = ("api_key", "apikey", "key", "token", "access_token", "hf_token", "auth_token", "password", "passwd", "secret")
# As the usual services make them, and a name with a password before a host.
VALUES = re.compile(
    r"\b(sk-[\w-]{16,}|hf_\w{20,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}"
    r"|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]*)|://[^/\s@:]+:[^/\s@]+@"
    r"|authorization['\"]?\s*[:=]",
    re.IGNORECASE,
)


def refuse_secrets(words: Sequence[str]) -> None:
    """LabError, which does not repeat it, where a word of a command line gives a key or looks like one."""
    for word in words:
        name, _, value = word.lstrip("+~").partition("=")
        named = value not in ("", "null") and re.split(r"[.@/]", name)[-1].lower() in NAMES
        if named or VALUES.search(word):
            raise LabError(
                f"{name if value and not VALUES.search(name) else 'a word'}: this looks like a key or a password, and "
                "the words of a command line are written to the run folder; put it into an environment variable and "
                "give that one's name (model.api_key_env=NAME)"
            )
