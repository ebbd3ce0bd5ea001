"""PyTorch to ONNX: the context graph and the highlighter graph of a network.

The chunk length and the number of segments are fixed in the graph, the batch is symbolic. The
STFT stays outside. Opset 20 is what TensorRT for RTX compiles in every precision.
"""

from __future__ import annotations

import ast
import logging
import warnings
from pathlib import Path

import onnx
import torch
from semmix_rt.engines.inputs import BATCH_AXIS, SEGMENT_AXIS
from torch import Tensor, nn

from semmix.nn import EdgeSemMix
from semmix.specs import ModelSpec
from semmix_export.edge_graph import EdgeGraph

OPSET = 20
OPSETS = (18, 23)
"""Lowest and highest opset that is offered. In float32 TensorRT for RTX does not compile 23."""


class _Context(nn.Module):
    """The context encoder alone, with the graph's input name."""

    def __init__(self, network: EdgeSemMix) -> None:
        super().__init__()
        self.encoder = network.context_encoder

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.encoder(embeddings)  # type: ignore[no-any-return]


def example_inputs(spec: ModelSpec, batch: int, seed: int = 0) -> dict[str, Tensor]:
    """Seeded inputs of the highlighter graph by name, with the shapes of a chunk."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    frames, segments = spec.chunk.kept_frames, spec.max_segments
    inputs = {
        "spectrum": noise(batch, frames, spec.stft.bins).abs() * 0.1,
        "tokens": noise(batch, segments, len(spec.cue_types), spec.token_dim),
        "weights": torch.softmax(noise(batch, frames, segments), -1),
    }
    for state in spec.state:
        inputs[state.name] = noise(batch, *state.shape) * 0.1
    return inputs


def export_context(network: EdgeSemMix, path: Path, opset: int = OPSET) -> None:
    """Write `context.onnx`: `embeddings [N, K, E]` to `tokens [N, K, D]`."""
    spec = network.config.spec()
    example = torch.zeros(3, len(spec.cue_types), spec.embedding_dim)
    write_graph(
        _Context(network),
        (example,),
        path,
        ["embeddings"],
        ["tokens"],
        {"embeddings": {0: torch.export.Dim(SEGMENT_AXIS, min=1, max=4096)}},
        opset,
    )


def export_highlighter(network: EdgeSemMix, path: Path, opset: int = OPSET) -> None:
    """Write `highlighter.fp32.onnx`; inputs and outputs as `semmix_rt.engines.base` names them."""
    spec = network.config.spec()
    inputs = example_inputs(spec, batch=3)
    names = [s.name for s in spec.state]
    batch = {0: torch.export.Dim(BATCH_AXIS, min=1, max=256)}
    write_graph(
        EdgeGraph(network),
        (
            inputs["spectrum"],
            inputs["tokens"],
            inputs["weights"],
            tuple(inputs[n] for n in names),
        ),
        path,
        list(inputs),
        ["mask", *(f"next_{n}" for n in names)],
        {
            "spectrum": batch,
            "tokens": batch,
            "weights": batch,
            "state": tuple(batch for _ in names),
        },
        opset,
    )


def write_graph(
    module: nn.Module,
    arguments: tuple[object, ...],
    path: Path,
    inputs: list[str],
    outputs: list[str],
    dynamic_shapes: dict[str, object],
    opset: int = OPSET,
    *,
    external_data: bool = False,
) -> None:
    """Export a module with its weights into an ONNX file, and nothing of this machine.

    Args:
        module: to export.
        arguments, dynamic_shapes: see `torch.onnx.export`.
        path: file to write.
        inputs, outputs: names in the graph.
        opset: of ONNX.
        external_data: put the weights beside the graph, into a file of its name and `.data`; what
            protobuf cannot hold (2 GB) needs that.
    """
    # Says eight times that torchvision is missing, which nothing here needs.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    # Says for each split of attention heads that it stays as it is.
    logging.getLogger("onnxscript.optimizer._constant_folding").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # The exporter warns about its own deprecated internals, not about the model.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            arguments,
            dynamo=True,
            opset_version=opset,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=dynamic_shapes,
            external_data=external_data,
            verbose=False,
            optimize=True,
        )
    assert program is not None
    if external_data:
        program.save(str(path), external_data=True)
        model = onnx.load(str(path), load_external_data=False)
    else:
        model = program.model_proto
    save_graph(model, path)


def save_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write a checked graph without what its exporter left in it; external weights stay put.

    A node's name tells its module, as in `latent_transformer.transformer_blocks.1/linear_14`.
    """
    # Shapes stamped for the example's batch would be trusted over the real ones.
    del model.graph.value_info[:]
    # Exporter bookkeeping: traces of the machine it ran on, a third of a small file.
    for node in model.graph.node:
        # Weights do not tell it: equal ones, such as those of fresh norms, become one.
        if module := _module_of(node):
            node.name = f"{module}/{node.name.removeprefix('node_')}"
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.save(model, str(path), save_as_external_data=False)
    # By path, which also finds weights beside it.
    onnx.checker.check_model(str(path))


def _module_of(node: onnx.NodeProto) -> str:
    """Path of the module that a node is from, empty where that is the whole or not known."""
    for known in node.metadata_props:
        if known.key == "pkg.torch.onnx.name_scopes":
            # From the whole down to the operator.
            scopes: list[str] = ast.literal_eval(known.value)
            *_, module, _ = ["", "", *scopes]
            return module.removeprefix("network.")
    return ""


def stamp(content: bytes, facts: dict[str, str]) -> bytes:
    """ONNX bytes that say of themselves what they are, in `metadata_props`."""
    model = onnx.load_model_from_string(content)
    onnx.helper.set_model_props(model, facts)
    stamped: bytes = model.SerializeToString()
    return stamped
