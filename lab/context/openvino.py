"""The same encoder, run by OpenVINO on a CPU: in float32 the same vectors to the seventh digit, in less time; in
bfloat16 or int8 nearly the same, in less again.
"""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy

from lab.records import LabError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BATCH = 4  # Hardly pads, and stays in the cache: 4 took less time than 8, 16 or 32.
# Of the length of what comes out, how far it may lie from what torch makes of the same.
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.1, "int8": 0.3}
GROUP = 64  # So many numbers share a scale of int8: 32 took more time, 128 lost more.


def take_over(model: SentenceTransformer, threads: int, precision: str) -> None:
    """Let OpenVINO compute the transformer inside a sentence encoder, `threads` batches at a time.

    precision: `float32`, `bfloat16` or `int8`, of matrix products: see `_quantize`.
    LabError where the package is missing, where the CPU has no bfloat16, or where the encoder comes out too different.
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
    core = openvino.Core()
    has_bfloat16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "bfloat16" and not has_bfloat16:
        raise LabError("context.retriever.precision=bfloat16: this CPU has none; choose float32 or int8")
    # int8 is for matrix products; the rest of it is done in bfloat16 where there is such.
    hint = "bf16" if has_bfloat16 and precision != "float32" else "f32"
    settings = {"INFERENCE_PRECISION_HINT": hint, "NUM_STREAMS": threads, "INFERENCE_NUM_THREADS": threads}
    if precision == "int8":
        _quantize(graph)
        settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = GROUP
    compiled = core.compile_model(graph, "CPU", settings)

    def forward(**inputs: Any) -> BaseModelOutput:
        # A request of its own for each call: several threads call at a time.
        made = compiled.create_infer_request().infer([inputs[name].numpy() for name in names])
        return BaseModelOutput(last_hidden_state=torch.from_numpy(numpy.array(made[0])))

    lost = (forward(**example).last_hidden_state - wanted).norm() / wanted.norm()
    if not lost <= TOLERANCE[precision]:
        chosen = f"context.retriever.backend=openvino, precision={precision}"
        raise LabError(f"{chosen}: this encoder gives other vectors there; choose backend=torch, precision=float32")
    inner.forward = forward


def _quantize(graph: Any) -> None:
    """Make the weights of matrix products int8, each output channel with a scale and a zero of its own.

    OpenVINO then rounds what they are multiplied with as well, by the range of each `GROUP` numbers: unlike ranges that
    are seen on a corpus beforehand, or shared by a batch, these leave a vector dependent on its text alone.
    """
    from openvino import opset13 as operations

    for node in graph.get_ops():
        if node.get_type_name() != "MatMul" or node.input_value(1).get_node().get_type_name() != "Constant":
            continue
        weights = node.input_value(1).get_node().data
        low, high = weights.min(axis=1, keepdims=True, initial=0), weights.max(axis=1, keepdims=True, initial=0)
        scale = numpy.maximum(high - low, 1e-9) / 255
        zero = numpy.rint(-low / scale)
        whole = numpy.rint(weights / scale + zero).clip(0, 255)
        counted, origin = (
            operations.convert(operations.constant(some.astype(numpy.uint8)), "f32") for some in (whole, zero)
        )
        made = operations.multiply(operations.subtract(counted, origin), operations.constant(scale))
        node.input(1).replace_source_output(made.output(0))


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
