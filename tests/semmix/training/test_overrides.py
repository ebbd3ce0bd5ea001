"""Single numbers of a run by name."""

from __future__ import annotations

import pytest

from semmix.errors import UsageError
from semmix.nn import EdgeConfig
from semmix.nn.bands import BandGroup
from semmix.training.overrides import override
from semmix.training.settings import TrainSettings


def test_values_are_read_as_what_the_field_holds() -> None:
    assignments = (
        *("context_layers=3", "dropout=0.25", "decoder_dilations=1,2,4"),
        *("varied_share=0", "average_decay=0.5", "optimizer=muon", "scenes=7"),
    )
    settings, sizes = override(TrainSettings(), EdgeConfig(), assignments)
    assert (sizes.context_layers, sizes.dropout, sizes.decoder_dilations) == (3, 0.25, (1, 2, 4))
    assert override(TrainSettings(), EdgeConfig(), ("groups=24x4,2x9",))[1].groups == (
        BandGroup(24, 4),
        BandGroup(2, 9),
    )
    assert (settings.varied_share, settings.average_decay) == (0.0, 0.5)
    assert (settings.optimizer, settings.scenes) == ("muon", 7)
    assert override(TrainSettings(), EdgeConfig(), ()) == (TrainSettings(), EdgeConfig())


@pytest.mark.parametrize(
    ("assignment", "clue"),
    [
        ("colour=red", "NAME=VALUE with one of alone_share"),
        ("dropout", "NAME=VALUE"),
        ("groups=1", "like 24x2,16x8,8x32,6x99"),
        ("groups=24x2x3", "like 24x2"),
        ("decoder_dilations=1x2", "like 1,2"),
        ("optimizer=sgd", "optimizer is 'sgd' and not adamw or muon"),
        ("precision=fp8", "precision is 'fp8' and not fp32 or bf16"),
        ("sources=speech", "NAME=VALUE"),
        ("dropout=much", "like 0.0"),
        ("context_layers=1.5", "like 2"),
        ("deliver=perhaps", "like True"),
        ("decoder_dilations=1,x", "like"),
    ],
)
def test_what_fits_no_field_is_refused(assignment: str, clue: str) -> None:
    with pytest.raises(UsageError, match=clue):
        override(TrainSettings(), EdgeConfig(), (assignment,))
