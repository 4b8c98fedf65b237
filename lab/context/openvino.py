"""The same encoder, run by OpenVINO on a CPU: in float32 too, the same vectors to the seventh digit, in less time."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy

from lab.records import LabError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BATCH = 4  # Hardly pads, and stays in the cache: 4 took less time than 8, 16 or 32.
TOLERANCE = 1e-4  # Of single numbers of the two ways to compute the same; they differ by about 1e-6.


def take_over(model: SentenceTransformer, threads: int) -> None:
    """Let OpenVINO compute the transformer inside a sentence encoder, in float32, `threads` batches at a time.

    LabError where the package is missing, or where the encoder comes out different from what it was.
    """
    try:
        import openvino
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    except ImportError:
        raise LabError("context.retriever.backend=openvino needs openvino; pip install '.[openvino]'") from None
    import torch
    from transformers.modeling_outputs import BaseModelOutput

    inner: Any = model[0].model
    features = model.preprocess(["a text", "another one, which is longer, so that the first is padded"])
    names = [name for name in features if isinstance(features[name], torch.Tensor)]
    example = {name: features[name] for name in names}

    class Traced(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            return self.inner(**dict(zip(names, inputs, strict=True)), return_dict=True).last_hidden_state

    with torch.inference_mode():
        wanted = inner(**example, return_dict=True).last_hidden_state
    # Not `convert_model`, which reports to its makers that it was used.
    frontend = FrontEndManager().load_by_framework("pytorch")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of tracing: what it may lose is compared below.
        decoder = TorchScriptPythonDecoder(Traced(), example_input=tuple(example.values()))
        graph = frontend.convert(frontend.load(decoder))
    settings = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": threads, "INFERENCE_NUM_THREADS": threads}
    compiled = openvino.Core().compile_model(graph, "CPU", settings)

    def forward(**inputs: Any) -> BaseModelOutput:
        # A request of its own for each call: several threads call at a time.
        made = compiled.create_infer_request().infer([inputs[name].numpy() for name in names])
        return BaseModelOutput(last_hidden_state=torch.from_numpy(numpy.array(made[0])))

    if (forward(**example).last_hidden_state - wanted).abs().max() > TOLERANCE:
        raise LabError("context.retriever.backend=openvino: this encoder gives other vectors there; choose torch")
    inner.forward = forward


def in_parallel(encode: Any, texts: list[str], threads: int) -> numpy.ndarray:
    """What `encode` makes of the texts, by several threads; each gets texts of every length."""
    order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
    parts = [part for part in (order[first::threads] for first in range(threads)) if part]
    with ThreadPoolExecutor(len(parts)) as pool:
        made = list(pool.map(lambda part: encode([texts[place] for place in part]), parts))
    vectors = numpy.empty((len(texts), made[0].shape[1]), dtype=numpy.float32)
    for part, some in zip(parts, made, strict=True):
        vectors[part] = some
    return vectors
