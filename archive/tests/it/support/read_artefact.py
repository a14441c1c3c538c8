"""Reads an artefact as docs/artefact.md describes it, with nothing but Python's own library. (BLAKE3 is not in it: digests
are not checked.) Prints kind, mode, size and path of every entry, and for files the SHA-256 of the payload read through the index."""

import hashlib
import struct
import sys
import zlib

data = open(sys.argv[1], "rb").read()


def member(offset, length):
    return zlib.decompress(data[offset : offset + length], 31)


def subfield(offset):
    assert data[offset : offset + 4] == b"\x1f\x8b\x08\x04"
    (total,) = struct.unpack_from("<H", data, offset + 10)
    at, end = offset + 12, offset + 12 + total
    while at < end:
        name, length = data[at : at + 2], struct.unpack_from("<H", data, at + 2)[0]
        if name == b"BP":
            return data[at + 4 : at + 4 + length]
        at += 4 + length


class Block:
    def __init__(self, raw, kind):
        magic, version, found, _, self.rows, columns, _ = struct.unpack_from("<4sHBBIHH", raw)
        assert (magic, version, found) == (b"BPIX", 1, kind)
        self.columns, at = {}, 16 + 8 * columns
        for column in range(columns):
            name, _, length = struct.unpack_from("<HHI", raw, 16 + 8 * column)
            assert not name & 0x8000
            self.columns[name] = raw[at : at + length]
            at += length
        assert at == len(raw)

    def numbers(self, name, width, signed=False):
        raw = self.columns.get(name, b"") or bytes(width)
        values = [int.from_bytes(raw[at : at + width], "little", signed=signed) for at in range(0, len(raw), width)]
        return values * self.rows if len(values) == 1 else values

    def texts(self, lengths, texts):
        at, raw, out = 0, self.columns.get(texts, b""), []
        for length in self.numbers(lengths, 4):
            out.append(raw[at : at + length])
            at += length
        return out


opening, closing = subfield(0), subfield(len(data) - 86)
assert opening[:12] == b"BACKPLAN\x01\x00\x01\x00" and closing[:12] == b"BACKPLAN\x01\x00\x02\x00"
place, length, decoded = struct.unpack_from("<QII", closing, 12)
raw = member(place, length)
assert len(raw) == decoded
table = Block(raw, 3)
assert table.columns[16] == opening[12:]
blocks = list(zip(table.numbers(1, 1), table.numbers(2, 8), table.numbers(3, 4)))
members = []
for kind, offset, length in blocks:
    if kind == 2:
        block = Block(member(offset, length), 2)
        members += zip(block.numbers(1, 8), block.numbers(2, 4), block.numbers(3, 4))
assert members[0][0] == 0
assert members[-1][0] + members[-1][1] == int.from_bytes(table.columns[17], "little")

for kind, offset, length in blocks:
    if kind != 1:
        continue
    block = Block(member(offset, length), 1)
    path = b""
    rows = zip(
        block.numbers(1, 4), block.texts(2, 3), block.numbers(4, 1), block.numbers(5, 2), block.numbers(10, 8),
        block.numbers(11, 8), block.numbers(12, 8), block.numbers(13, 8), block.numbers(14, 4), block.numbers(15, 4),
    )
    for shared, rest, entry, mode, size, extra, place, span, number, start in rows:
        path = path[:shared] + rest
        digest = "-"
        if entry == 1:
            payload, tar = (size + extra) % 2**64, b""
            while place < sum(members[number][:2]) <= data.__len__() and members[number][0] < place + span:
                tar += member(*members[number][:2])
                number += 1
                if number == len(members):
                    break
            at = start
            if tar[at + 156 : at + 157] == b"x":
                at += 512 + -(-int(tar[at + 124 : at + 135], 8) // 512) * 512
            digest = hashlib.sha256(tar[at + 512 : at + 512 + payload]).hexdigest()
        print(entry, oct(mode), size, path.hex(), digest)
