"""Every name that is used of the real libraries exists there; nothing of this needs a GPU."""

from __future__ import annotations

import re
from importlib import import_module

import pytest
from semmix_rt.engines.trt.cuda import Cuda
from semmix_rt.engines.trt.library import LIBRARIES, Library, check_version, journal, load
from semmix_rt.engines.trt.runner import deserialise

from semmix.errors import EngineError, ProviderError

RTX = LIBRARIES["tensorrt-rtx"]

# What `library`, `runner` and the export's `compile` use of TensorRT for RTX.
USED = [
    "ILogger.log",
    "ILogger.Severity.WARNING",
    "Builder.create_network",
    "Builder.create_builder_config",
    "Builder.create_optimization_profile",
    "Builder.build_serialized_network",
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
    "OnnxParser.parse",
    "OnnxParser.num_errors",
    "OnnxParser.get_error",
    "ParserError.desc",
    "INetworkDefinition.num_inputs",
    "INetworkDefinition.get_input",
    "ITensor.name",
    "ITensor.shape",
    "IBuilderConfig.clear_flag",
    "BuilderFlag.TF32",
    "IBuilderConfig.profiling_verbosity",
    "ProfilingVerbosity.DETAILED",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
    "IBuilderConfig.create_timing_cache",
    "IBuilderConfig.set_timing_cache",
    "IBuilderConfig.get_timing_cache",
    "ITimingCache.serialize",
    "IOptimizationProfile.set_shape",
    "IBuilderConfig.add_optimization_profile",
    "ComputeCapability.SM75",
    "ComputeCapability.SM80",
    "ComputeCapability.SM86",
    "ComputeCapability.SM89",
    "ComputeCapability.SM120",
    "ComputeCapability.SM121",
    "Runtime.deserialize_cuda_engine",
    "ICudaEngine.create_execution_context",
    "ICudaEngine.create_runtime_config",
    "IRuntimeConfig.create_runtime_cache",
    "IRuntimeConfig.set_runtime_cache",
    "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy",
    "DynamicShapesKernelSpecializationStrategy.EAGER",
    "IRuntimeCache.deserialize",
    "IRuntimeCache.serialize",
    "ICudaEngine.num_io_tensors",
    "ICudaEngine.get_tensor_name",
    "ICudaEngine.get_tensor_mode",
    "ICudaEngine.get_tensor_dtype",
    "TensorIOMode.INPUT",
    "DataType.FLOAT",
    "IExecutionContext.set_input_shape",
    "IExecutionContext.get_tensor_shape",
    "IExecutionContext.set_tensor_address",
    "IExecutionContext.execute_async_v3",
]

# What only TensorRT for RTX has, and is asked for.
RTX_ALONE = (
    *("ComputeCapability.", "DynamicShapesKernelSpecializationStrategy.", "IRuntimeCache."),
    *("IRuntimeConfig.", "ICudaEngine.create_runtime_config"),
    *("IBuilderConfig.num_compute", "IBuilderConfig.set_compute"),
)

# Of cuda-python: how many arguments each call is given.
CALLS = {
    "cudaGetDeviceCount": 0,
    "cudaSetDevice": 1,
    "cudaDriverGetVersion": 0,
    "cudaGetDeviceProperties": 1,
    "cudaStreamCreate": 0,
    "cudaStreamDestroy": 1,
    "cudaStreamSynchronize": 1,
    "cudaMalloc": 1,
    "cudaFree": 1,
    "cudaMallocHost": 1,
    "cudaFreeHost": 1,
    "cudaMemcpyAsync": 5,
    "cudaStreamBeginCapture": 2,
    "cudaStreamEndCapture": 1,
    "cudaGraphInstantiate": 2,
    "cudaGraphDestroy": 1,
    "cudaGraphExecDestroy": 1,
    "cudaGraphLaunch": 2,
}
VALUES = (
    "cudaError_t.cudaSuccess",
    "cudaMemcpyKind.cudaMemcpyHostToDevice",
    "cudaMemcpyKind.cudaMemcpyDeviceToHost",
    "cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal",
    "cudaDeviceProp.name",
    "cudaDeviceProp.major",
    "cudaDeviceProp.minor",
)


@pytest.mark.trt
@pytest.mark.parametrize("name", USED)
def test_the_library_has(name: str) -> None:
    place = load(RTX)
    for part in name.split("."):
        assert hasattr(place, part), name
        place = getattr(place, part)


def has(place: object, name: str) -> bool:
    for part in name.split("."):
        if not hasattr(place, part):
            return False
        place = getattr(place, part)
    return True


def test_tensorrt_itself_has_them_too() -> None:
    trt = pytest.importorskip("tensorrt", reason="needs tensorrt, from NVIDIA's package index")
    used = [name for name in USED if not name.startswith(RTX_ALONE)]
    assert not [name for name in used if not has(trt, name)]


@pytest.mark.trt
def test_the_library_takes_a_runtime_configuration_by_its_name() -> None:
    signatures = load(RTX).ICudaEngine.create_execution_context.__doc__
    assert re.search(r"runtime_config: \S*IRuntimeConfig = None", signatures)


@pytest.mark.trt
@pytest.mark.parametrize("name", CALLS)
def test_cuda_takes_as_many_arguments(name: str) -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime")
    signature = (getattr(runtime, name).__doc__ or "").splitlines()[0]
    match = re.fullmatch(rf"{name}\((.*)\)", signature)
    assert match is not None, signature
    assert len([part for part in match[1].split(",") if part.strip()]) == CALLS[name], signature


@pytest.mark.trt
@pytest.mark.parametrize("name", VALUES)
def test_cuda_has(name: str) -> None:
    place = pytest.importorskip("cuda.bindings.runtime")
    for part in name.split("."):
        assert hasattr(place, part), name
        place = getattr(place, part)


@pytest.mark.trt
def test_without_a_driver_the_gpu_and_the_engine_say_so() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime")
    if runtime.cudaGetDeviceCount()[0] == runtime.cudaError_t.cudaSuccess:
        pytest.skip("this machine has an NVIDIA GPU")
    with pytest.raises(ProviderError, match=r"no NVIDIA GPU starts .*--engine ort"):
        Cuda()
    with pytest.raises(EngineError, match=r"TensorRT for RTX .*"):
        deserialise(RTX, b"no plan")


@pytest.mark.parametrize(
    ("name", "version", "fits"),
    [
        ("tensorrt", "10.13.0", True),
        ("tensorrt", "11.4.0.106", True),
        ("tensorrt", "10.9.0", False),
        ("tensorrt", "12.0.0", False),
        ("tensorrt", "unknown", False),
        ("tensorrt-rtx", "1.7.1.116", True),
        ("tensorrt-rtx", "1.6.0", False),
        ("tensorrt-rtx", "2.0", False),
    ],
)
def test_versions_that_were_never_tried_are_refused(name: str, version: str, fits: bool) -> None:
    library = LIBRARIES[name]
    if fits:
        check_version(library, version)
        return
    with pytest.raises(EngineError, match=rf"{re.escape(version)} is installed.*pip install"):
        check_version(library, version)


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=str)
def test_a_missing_library_is_named_with_its_extra(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, library.module, None)
    with pytest.raises(EngineError, match=rf"semmix-rt\[{library.name}\]"):
        load(library)


@pytest.mark.trt
def test_the_journal_hears_the_library() -> None:
    trt, notes = import_module("tensorrt_rtx"), journal(RTX)
    notes.record()
    builder = trt.Builder(notes.logger)
    # The parser does not keep the network alive.
    network = builder.create_network(1)
    parser = trt.OnnxParser(network, notes.logger)
    assert not parser.parse(b"no graph")
    assert notes.recorded()
    assert notes.complaints
    assert notes.reason() != "no reason given"
