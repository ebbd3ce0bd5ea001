"""The paper's own network, and a wrapper from sound to sound (VisAH, sections 1 to 4)."""

from __future__ import annotations

from torch import Tensor

from semmix.nn.base.backbone import Backbone
from semmix.nn.base.config import BaseConfig
from semmix.nn.base.frontend import analyse, synthesise
from semmix.nn.base.latent import LatentTransformer


class BaseSemMix(Backbone):
    """Mask network of the paper: the U-Net with the highlighting transformer at its bottom.

    It is a backbone, rather than having one, because published checkpoints name the parameters
    of both side by side.
    """

    def __init__(self, config: BaseConfig) -> None:
        super().__init__(config)
        self.latent_transformer = LatentTransformer(config)

    def forward(
        self, magnitude: Tensor, waveform: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mask a clip.

        Args:
            magnitude: STFT magnitudes `[B, 1, 2048, T]`, T `ceil(N / 1024)`.
            waveform: the normalised clip `[B, 1, N]`.
            context: context vectors `[B, K, D]`, in the order of time; None for a network
                without context.

        Returns:
            the mask `[B, 1, 2048, T]`, real and without bounds, and the time branch's waveform
            `[B, 1, N]` on the normalised scale.

        Raises:
            ValueError: shapes that do not belong together, or not to this network.
        """
        return self.mask(magnitude, waveform, self.latent_transformer.encode_context(context))

    def mask(
        self, magnitude: Tensor, waveform: Tensor, tokens: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Mask a clip whose context is encoded already, as `forward` does it.

        Args:
            magnitude, waveform: see `forward`.
            tokens: encoded context `[B, K, 512]`; None for a network without context.
        """
        encoded = self.encode(magnitude, waveform)
        return self.decode(self.latent_transformer.attend(encoded.latent, tokens), encoded)


def highlight(network: BaseSemMix, sound: Tensor, context: Tensor | None = None) -> Tensor:
    """Remix a clip: mono sound `[B, 1, N]` at 44.1 kHz to sound `[B, 1, N]`.

    Args:
        network: with or without gradients, as the caller has set it up.
        sound: 10 s in training; other lengths work.
        context: see `BaseSemMix.forward`.

    Raises:
        ValueError: shapes that do not fit.
    """
    clip = analyse(sound)
    mask, waveform = network(clip.magnitude, clip.waveform, context)
    return synthesise(clip, mask, waveform)
