"""Every name that is used of the real libraries exists there; nothing of this needs a GPU."""

from __future__ import annotations

import re
from importlib import import_module

import pytest
from semmix_export.tensorrt.compile import RTX_TARGETS
from semmix_rt.engines.trt.cuda import Cuda, free_bytes
from semmix_rt.engines.trt.library import LIBRARIES, Library, check_version, journal, load
from semmix_rt.engines.trt.runner import deserialise
from support_bindings import all_uses, bindings, uses

from semmix.errors import EngineError, ProviderError

RTX = LIBRARIES["tensorrt-rtx"]

# Of each library, a version whose bindings' names were written down.
WRITTEN = {
    "tensorrt": ("tensorrt-10.13", "tensorrt-11.4"),
    "tensorrt-rtx": ("tensorrt-rtx-1.7",),
}

# What only TensorRT for RTX has, and is asked for.
RTX_ALONE = {
    *("ComputeCapability", "DynamicShapesKernelSpecializationStrategy"),
    *("IRuntimeCache.deserialize", "IRuntimeCache.serialize"),
    *("IRuntimeConfig.create_runtime_cache", "IRuntimeConfig.set_runtime_cache"),
    "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy",
    *("IBuilderConfig.num_compute_capabilities", "IBuilderConfig.set_compute_capability"),
}

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
    "cudaMemGetInfo": 0,
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


@pytest.mark.parametrize("name", WRITTEN["tensorrt-rtx"])
def test_tensorrt_for_rtx_has_every_name_that_is_used(name: str) -> None:
    known = bindings(name)
    found = set(all_uses(known))
    assert not {(where, use) for where, use in found if use not in known}
    # The code is followed into every corner where the library is used.
    assert {where for where, _ in found} >= {"library.py", "runner.py", "kernels.py", "compile.py"}
    assert {use for _, use in found} >= {
        *(
            "ILogger.Severity.WARNING",
            "ParserError.desc",
            "ITensor.shape",
            "ITimingCache.serialize",
        ),
        *("IExecutionContext.execute_async_v3", "Runtime.deserialize_cuda_engine"),
        *("EngineInspector.get_engine_information", "IOptimizationProfile.set_shape"),
    }
    assert not {f"ComputeCapability.{target.upper()}" for target in RTX_TARGETS} - known.keys()
    assert "ILogger.log" in known


@pytest.mark.parametrize("name", WRITTEN["tensorrt"])
def test_tensorrt_has_every_name_that_is_not_the_other_librarys_own(name: str) -> None:
    known = bindings(name)
    found = {use for _, use in all_uses(bindings("tensorrt-rtx-1.7"))}
    lacking = {use for use in found if use not in known}
    # A value of an enumeration that is lacking, lacks with it.
    assert {use for use in lacking if use.partition(".")[0] not in RTX_ALONE} == {
        use for use in RTX_ALONE if "." in use
    }
    assert not RTX_ALONE & known.keys()
    assert "ILogger.log" in known


def test_both_ends_of_the_versions_that_are_used_were_written_down() -> None:
    for name, library in LIBRARIES.items():
        ends = [tuple(map(int, w.rsplit("-", 1)[1].split("."))) for w in WRITTEN[name]]
        assert ends[0] == library.oldest
        assert ends[-1][0] == library.newest[0] - 1


@pytest.mark.trt
def test_what_is_installed_is_what_was_written_down() -> None:
    trt = load(RTX)
    if not str(trt.__version__).startswith("1.7."):
        pytest.skip(f"names are those of 1.7, {trt.__version__} is installed")
    for name in bindings("tensorrt-rtx-1.7"):
        assert has(trt, name), name


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("trt.Builder(l).reset()", {"Builder", "Builder.reset"}),
        (
            "b = trt.Builder(l)\nc, d = b.create_network(1), 2\nc.num_inputs\nd.num_inputs",
            {"Builder", "Builder.create_network", "INetworkDefinition.num_inputs"},
        ),
        (
            "def f(engine):\n    engine.create_engine_inspector().no_such_method()",
            {"ICudaEngine.create_engine_inspector", "EngineInspector.no_such_method"},
        ),
        ("x = way.context\nx.no_such_method()", {"IExecutionContext.no_such_method"}),
        ("self._trt.no_such_class", set()),
        ("trt.__version__", set()),
    ],
)
def test_uses_are_followed_through_calls_and_variables(source: str, found: set[str]) -> None:
    assert set(uses(source, bindings("tensorrt-11.4"))) == found


def has(place: object, name: str) -> bool:
    for part in name.split("."):
        if not hasattr(place, part):
            return False
        place = getattr(place, part)
    return True


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
    assert free_bytes() is None
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
