"""Models behind a server that speaks OpenAI's protocol: vLLM, SGLang, `transformers serve`, or a paid one.

They answer closed-book, with retrieved and with gold passages. Their weights are out of reach: nothing is trained, and
they give no log-probabilities.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab.base import BaseModel
from lab.framing import PLAIN
from lab.model import Generation
from lab.records import LabError
from lab.store import JSON, digest

if TYPE_CHECKING:
    import openai

FAILURES_IN_A_ROW = 20  # Then the server is taken to be gone, and nothing more is asked of it.
FIRST_WAIT = 0.5  # Seconds before a broken answer is asked for again; doubled each time.


@dataclass(frozen=True)
class ServedModel:
    """url: up to and including `/v1`. name: what the server calls the model.

    chat: whether prompts are user turns (`/chat/completions`) or plain text (`/completions`, for base models).
    api_key_env: the environment variable that holds the key, None where the server wants none. concurrency: questions
    under way at once. timeout_seconds: for one answer. retries: how often a question is asked again after a time-out,
    429, 5xx, a lost connection or an answer that cannot be read. extra: further fields of the request; the usual ones
    switch thinking off in vLLM, SGLang and transformers.
    """

    url: str
    name: str
    chat: bool = True
    api_key_env: str | None = None
    concurrency: int = 8
    timeout_seconds: float = 120
    retries: int = 4
    extra: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", str(self.url)):  # Whatever follows @ ? # may be a key.
            raise LabError("model.url: the address of the server up to /v1 is needed, such as http://127.0.0.1:8000/v1")
        if not isinstance(self.name, str) or not self.name:
            raise LabError(f"model.name={self.name}: what the server calls the model is needed")
        if not isinstance(self.chat, bool):
            raise LabError(f"model.chat={self.chat}: choose true or false; a server does not tell which it needs")
        if self.api_key_env is not None and not re.fullmatch(r"[A-Z][A-Z0-9_]*", str(self.api_key_env)):
            raise LabError(
                "model.api_key_env: the name of an environment variable is needed, such as OPENAI_API_KEY; if that was "
                "the key itself, delete .hydra/ in the run folder, which holds it now"
            )
        for name, value, least in (("concurrency", self.concurrency, 1), ("retries", self.retries, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise LabError(f"model.{name}={value}: a whole number of at least {least} is needed")
        if isinstance(self.timeout_seconds, bool) or not isinstance(self.timeout_seconds, int | float):
            raise LabError(f"model.timeout_seconds={self.timeout_seconds}: a number is needed")
        if self.timeout_seconds <= 0:
            raise LabError(f"model.timeout_seconds={self.timeout_seconds}: a number above 0 is needed")

    @property
    def digest(self) -> str:
        """Of the address, the name and all that shapes a request. It does not tell one set of weights from another."""
        parts: JSON = {"url": self.url, "name": self.name, "chat": self.chat, "extra": dict(self.extra or {})}
        return digest({"served": parts})

    def weights(self) -> BaseModel:
        """LabError: what is served cannot be trained."""
        raise LabError(
            f"model.name={self.name}: a served model cannot be trained. Train with model.path=FOLDER of its weights; "
            "the log then names the checkpoint, or of LoRA the adapter (pipeline.adaptation.checkpoint=DIR merges it). "
            "Serve it, for example `vllm serve DIR`, or `vllm serve BASE --enable-lora --lora-modules law=DIR`, and "
            "let it sit the exam: model=openai model.url=URL, model.name=DIR or law, pipeline=closed_book, rag or gold"
        )

    def load(self, device: str) -> ServedLanguageModel:
        """Reach the server. LabError where nobody answers there, the key is missing or refused."""
        try:
            import openai
        except ImportError:
            raise LabError("model=openai: needs openai; pip install 'open-book-exam-lab[served]'") from None
        key = None
        if self.api_key_env is not None:
            key = os.environ.get(self.api_key_env)
            if not key:
                raise LabError(f"model.api_key_env={self.api_key_env}: no such environment variable; set it to the key")
        # A key is always sent by the library; without one of the user's it must not take OPENAI_API_KEY by itself.
        client = openai.OpenAI(
            base_url=self.url, api_key=key or "none", timeout=self.timeout_seconds, max_retries=self.retries
        )
        try:
            client.with_options(timeout=min(self.timeout_seconds, 30), max_retries=0).models.list()
        except openai.APIConnectionError as error:
            raise LabError(
                f"model.url={self.url}: no server answers there ({error.__cause__ or error}); start it, or mend it"
            ) from None
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise LabError(_refused(self, error.status_code)) from None
        except (openai.OpenAIError, ValueError):
            pass  # Somebody answers; not every server has a list of its models.
        return ServedLanguageModel(self, client)


class ServedLanguageModel:
    """A reachable server, as a model that answers prompts."""

    keeps = False  # The same name may stand for other weights tomorrow.
    dtype = "served"
    parameters = None

    def __init__(self, base: ServedModel, client: openai.OpenAI) -> None:
        self.base = base
        self.digest = base.digest
        self._client = client

    def generate(
        self,
        prompts: Sequence[str],
        max_new_tokens: int,
        progress: Callable[[int], None] = lambda done: None,
        several_lines: bool = False,
    ) -> list[Generation]:
        """Answers at temperature 0, in the order of `prompts`; one that failed after its retries says why.

        Token counts are the server's own, 0 where it gives none. LabError where it refuses the key or does not know
        the model, or many questions in a row fail.
        """
        made: dict[int, Generation] = {}
        in_a_row = 0
        pool = ThreadPoolExecutor(self.base.concurrency)
        try:
            asked = {pool.submit(self._ask, text, max_new_tokens, several_lines): at for at, text in enumerate(prompts)}
            for answered in as_completed(asked):
                one = made[asked[answered]] = answered.result()
                in_a_row = in_a_row + 1 if one.error else 0
                if in_a_row == FAILURES_IN_A_ROW:
                    raise LabError(
                        f"model.url={self.base.url}: {in_a_row} questions in a row failed, lastly: {one.error}"
                    )
                progress(1)
        finally:
            pool.shutdown(cancel_futures=True)
        return [made[at] for at in range(len(prompts))]

    def log_probabilities(
        self, prompts: Sequence[str], continuations: Sequence[Sequence[str]]
    ) -> list[list[float | None]]:
        """None each: the protocol does not tell them of given text."""
        return [[None] * len(some) for some in continuations]

    def bits_per_byte(self, texts: Sequence[str]) -> list[tuple[float, int]]:
        """Of no text, for the same reason."""
        return []

    def count_tokens(self, texts: Sequence[str]) -> int:
        """0: nothing is read here."""
        return 0

    def work(self, prompts: Sequence[str], tokens: Sequence[tuple[int, int]], max_new_tokens: int) -> dict[str, JSON]:
        """Nothing: it is done elsewhere."""
        return {}

    def _ask(self, prompt: str, max_new_tokens: int, several_lines: bool) -> Generation:
        import openai

        why = ""
        for attempt in range(self.base.retries + 1):
            if attempt:
                time.sleep(FIRST_WAIT * 2 ** (attempt - 1))
            try:
                return self._once(prompt, max_new_tokens, several_lines)
            except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
                raise LabError(_refused(self.base, error.status_code)) from None
            except openai.NotFoundError:
                raise LabError(
                    f"model.name={self.base.name}: {self.base.url} knows no such model, or no "
                    f"{'chat/completions' if self.base.chat else 'completions'}; mend the name, or model.chat"
                ) from None
            except openai.APIResponseValidationError:
                why = "its answer is not what the protocol says"
            except openai.APIStatusError as error:  # The library has asked again by itself where that could help.
                words = " ".join(error.message.replace(self._client.api_key, "***").split())[:200]
                return self._failed(f"the server says {error.status_code} ({words})")
            except openai.APITimeoutError:
                return self._failed(f"no answer within {self.base.timeout_seconds:g} s")
            except openai.APIConnectionError:
                return self._failed("the connection was lost")
            except (ValueError, _BrokenAnswerError):  # ValueError: no JSON
                why = "its answer cannot be read"
        return self._failed(why)

    def _failed(self, why: str) -> Generation:
        return Generation("", 0, 0, f"{why}, asked {self.base.retries + 1} time(s)")

    def _once(self, prompt: str, max_new_tokens: int, several_lines: bool) -> Generation:
        usual: dict[str, Any] = {"model": self.base.name, "max_tokens": max_new_tokens, "temperature": 0}
        made: Any
        if self.base.chat:
            turn: Any = {"role": "user", "content": prompt}
            made = self._client.chat.completions.create(
                messages=[turn], extra_body=dict(self.base.extra or {}), **usual
            )
        else:
            made = self._client.completions.create(prompt=prompt, extra_body=dict(self.base.extra or {}), **usual)
        # The library passes on what it was sent, whatever shape it has.
        try:
            choice = made.choices[0]
            text = choice.message.content if self.base.chat else choice.text
            counts = (made.usage.prompt_tokens, made.usage.completion_tokens) if made.usage else (0, 0)
            cut = choice.finish_reason == "length"
        except (AttributeError, TypeError, IndexError) as error:
            raise _BrokenAnswerError from error
        if text is None and cut:  # All of its tokens went into thinking, which the server keeps apart.
            text = ""
        if not isinstance(text, str) or not all(isinstance(count, int) for count in counts):
            raise _BrokenAnswerError
        text = PLAIN.without_thinking(text).strip()
        if not self.base.chat:
            text = PLAIN.first_part(text, several_lines)
        return Generation(text, *counts)


class _BrokenAnswerError(Exception):
    """JSON, but not an answer."""


def _refused(base: ServedModel, status: int) -> str:
    if base.api_key_env is None:
        return f"model.url={base.url}: the server wants a key ({status}); name its variable with model.api_key_env"
    return f"model.url={base.url}: the server refuses the key in {base.api_key_env} ({status}); set another"
