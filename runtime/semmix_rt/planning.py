"""What a run would do, in plain values: for reports and dry runs."""

from __future__ import annotations

from typing import Any

from semmix_rt.media.transfer import Transfer


def plan_streams(transfer: Transfer) -> dict[str, Any]:
    """What becomes of each stream, as the target's muxer accepted it.

    Returns:
        `streams`: one table each with `index`, `kind`, `codec`, `language` and `action`
        (`copy`, `rebalance` or `drop`); and `codec`, `bit_rate_bps`, `sample_rate_hz`,
        `channels`, `layout` of the rebalanced one.
    """
    streams = []
    for stream in transfer.info.streams:
        if stream.index == transfer.audio.index:
            action = "rebalance"
        elif any(text.startswith(f"stream {stream.index} ") for text in transfer.dropped):
            action = "drop"
        else:
            action = "copy"
        streams.append(
            {
                "index": stream.index,
                "kind": stream.kind,
                "codec": stream.codec,
                "language": stream.language,
                "action": action,
            }
        )
    return {
        "streams": streams,
        "codec": transfer.plan.codec,
        "bit_rate_bps": transfer.plan.bit_rate_bps,
        "sample_rate_hz": transfer.plan.sample_rate_hz,
        "channels": transfer.channels,
        "layout": transfer.audio.layout,
    }
