"""Everything that touches pixels: decoding, pose networks, rendering, overlays. Only a ``Track`` leaves."""
