"""Blocks of a pcapng file: their numbers, their options, and the link types that interfaces name."""

from __future__ import annotations

import struct
from enum import IntEnum

__all__ = ["BYTE_ORDER_MAGIC", "TLS_KEY_LOG", "Block", "LinkLayer", "Option", "block", "option"]

BYTE_ORDER_MAGIC = 0x1A2B3C4D
# The kind of secrets that is a key log in NSS's format.
TLS_KEY_LOG = 0x544C534B


class Block(IntEnum):
    SECTION = 0x0A0D0D0A
    INTERFACE = 1
    PACKET = 2  # obsolete, and still written here and there
    SIMPLE_PACKET = 3
    ENHANCED_PACKET = 6
    SECRETS = 10


class Option(IntEnum):
    END = 0
    COMMENT = 1
    # Of a section.
    APPLICATION = 4
    # Of an interface.
    NAME = 2
    DESCRIPTION = 3
    RESOLUTION = 9
    OFFSET = 14


class LinkLayer(IntEnum):
    """What packets of an interface begin with."""

    NULL = 0
    ETHERNET = 1
    RAW_12 = 12
    RAW_14 = 14
    RAW = 101
    LOOP = 108
    LINUX_COOKED = 113
    IPV4 = 228
    IPV6 = 229
    LINUX_COOKED_2 = 276


def block(number: int, body: bytes) -> bytes:
    """A little-endian block around a body, which ends on 4 bytes."""
    size = 12 + len(body)
    return b"".join((struct.pack("<II", number, size), body, struct.pack("<I", size)))


def option(number: int, value: bytes) -> bytes:
    """One option, filled up to 4 bytes. ValueError: more than 65,535 bytes."""
    if len(value) > 0xFFFF:
        raise ValueError(f"option {number}: expected at most 65535 bytes, found {len(value)}")
    return b"".join((struct.pack("<HH", number, len(value)), value, bytes(-len(value) % 4)))
