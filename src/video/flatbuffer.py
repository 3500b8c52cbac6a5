"""Read-only flatbuffers, as little as TFLite files need: tables, vectors of tables, vectors of scalars."""

import struct

import numpy as np
from numpy.typing import NDArray


class Table:
    """One flatbuffer table: fields by their number in the schema; an absent field has the default."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at
        self.vtable = at - struct.unpack_from("<i", data, at)[0]
        self.slots = (struct.unpack_from("<H", data, self.vtable)[0] - 4) // 2

    @classmethod
    def root(cls, data: bytes) -> "Table":
        """The table that the file starts from."""
        return cls(data, struct.unpack_from("<I", data, 0)[0])

    def _field(self, number: int) -> int:
        offset = struct.unpack_from("<H", self.data, self.vtable + 4 + 2 * number)[0] if number < self.slots else 0
        return self.at + int(offset) if offset else 0

    def number(self, number: int, kind: str = "i", default: int = 0) -> int:
        """A scalar; ``kind`` as in ``struct`` (i int32, I uint32, b int8, B uint8)."""
        at = self._field(number)
        return int(struct.unpack_from("<" + kind, self.data, at)[0]) if at else default

    def _follow(self, at: int) -> int:
        return at + int(struct.unpack_from("<I", self.data, at)[0])

    def table(self, number: int) -> "Table | None":
        """A nested table, or None."""
        at = self._field(number)
        return Table(self.data, self._follow(at)) if at else None

    def tables(self, number: int) -> list["Table"]:
        """A vector of tables."""
        at = self._field(number)
        if not at:
            return []
        start = self._follow(at)
        count = struct.unpack_from("<I", self.data, start)[0]
        return [Table(self.data, self._follow(start + 4 + 4 * i)) for i in range(count)]

    def array(self, number: int, dtype: type = np.int32) -> NDArray[np.generic]:
        """A vector of scalars; empty when absent."""
        at = self._field(number)
        if not at:
            return np.empty(0, dtype)
        start = self._follow(at)
        count = struct.unpack_from("<I", self.data, start)[0]
        return np.frombuffer(self.data, dtype, count, start + 4)
