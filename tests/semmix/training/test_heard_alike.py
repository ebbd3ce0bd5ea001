"""A film is heard as training hears its clips: what was learnt is what `remix` does."""

from __future__ import annotations

import numpy as np
import tolerances
import torch
from semmix_rt.streaming import RemixStream
from semmix_rt.timeline import CueTimeline, unknown_cues
from support_training import lively_network

from semmix.cues.types import CueSegment
from semmix.dsp.stft import istft, stft
from semmix.metrics.agreement import snr_db
from semmix.nn.engine import TorchEngine
from semmix.training.batches import magnitudes
from semmix.training.heard import heard


def test_a_stream_hears_a_film_as_training_hears_a_clip() -> None:
    """Training hears a clip at once, its first shot's cues from a look-ahead before it on."""
    network = lively_network("tiny")
    config, spec = network.config, network.config.spec()
    rng = np.random.default_rng(4)
    sound = (0.1 * rng.standard_normal(3 * config.sample_rate_hz)).astype(np.float32)
    embeddings = rng.standard_normal((2, 6, config.embedding_dim)).astype(np.float32) / 20.0
    embeddings[1] = 0.0  # a clip with one shot

    magnitude = torch.from_numpy(magnitudes(sound, spec.stft))
    weights = torch.tensor([1.0, 0.0]).expand(1, len(magnitude), 2)
    with torch.no_grad():
        found = heard(network, magnitude[None], torch.from_numpy(embeddings)[None], weights)
    expected = istft(stft(sound[None], spec.stft) * found.mask.numpy(), spec.stft, len(sound))

    engine = TorchEngine(network)
    timeline = CueTimeline(
        [CueSegment(0.0, 3.0, 1.5, {})],
        lambda segment: embeddings[0],
        engine.encode_context,
        2,
        unknown=unknown_cues(spec),
    )
    stream = RemixStream(engine, timeline, config.sample_rate_hz, 1)
    streamed = np.concatenate((stream.push(sound[None]), stream.finish()), axis=1)
    assert snr_db(expected, streamed) > tolerances.HEARD_ALIKE_DB
