"""From streams to a layout that reads them."""

from __future__ import annotations

from infer_synthetic import captured, random_device

from loadgen.infer.inference import infer
from loadgen.infer.layout_reading import LayoutReader


def test_what_is_found_reads_the_frames_it_was_found_in() -> None:
    sessions = captured(random_device(100), seed=100)
    found = infer([session.exchange() for session in sessions])
    assert found.layout is not None
    reader = LayoutReader(found.layout)
    frames = [(of_client, data) for session in sessions for _, of_client, _, data in session.sent]
    read = [reader.read(data, of_client=of_client) for of_client, data in frames]
    assert all(one.message is not None for one in read)
    assert sum(one.fits for one in read) >= 0.95 * len(read)
    assert found.frames == len(frames)


def test_nothing_to_infer_from_is_said_so() -> None:
    found = infer([])
    assert found.layout is None
    assert found.why == "the capture has no bytes of any session"
