"""A clip once more, as messengers send it: smaller, or squeezed harder."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from src.video.clips import read, scaled_size
from src.video.probe import probe

X264 = "threads=1:lookahead-threads=1:mbtree=0"
"""As in ``render``: more threads do not give the same bytes every time."""


def recode(source: Path, target: Path, crf: int, scale: float = 1.0) -> None:
    """Write every frame again as H.264 at its mean rate; sizes are cut to even numbers. ``ClipError`` as ``read`` raises it."""
    clip = probe(source)
    longest_px = round(scale * max(clip.size_px))
    width, height = (side // 2 * 2 for side in scaled_size(clip, longest_px))
    rate, count = Fraction(clip.fps_hz).limit_denominator(1001), 0
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.codec_context.thread_count = 1
        stream.options = {"crf": str(crf), "preset": "veryfast", "x264-params": X264}
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for pictures, _ in read(source, max_side_px=longest_px):
            for picture in pictures[:, :height, :width]:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                frame.pts, frame.time_base, count = count, 1 / rate, count + 1
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
