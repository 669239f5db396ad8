"""Room for the data, judged from values before anything is started."""

from __future__ import annotations

import pytest

from gate.config import Dataset
from gate.errors import EnvironmentFailure
from gate.plan import CACHED, COPIES, ROUGH_WIDTH, Room, check_space, needed_bytes, rough_bytes

MB = 1_000_000


def room(place: str = "/data", *, device: int = 1, free: int, copies: int = COPIES, of: str = "disk") -> Room:
    return Room(place=place, device=device, free=free, runs_out=of, copies=copies, hint="set TMPDIR")


def test_an_estimate_needs_the_configuration_alone():
    """Rows times a rough width; a fixed table is not scaled, an empty data set still takes a server."""
    spec = Dataset.model_validate({"tables": {"songs": {"rows": 1000}, "kinds": {"rows": 10, "fixed": True}}})
    empty = rough_bytes(Dataset(), scale=1.0)
    assert rough_bytes(spec, scale=3.0) - empty == (3 * 1000 + 10) * ROUGH_WIDTH
    assert empty > 0


def test_a_place_with_room_for_every_copy_is_enough():
    """Down to the last byte."""
    check_space(MB, [room(free=needed_bytes(MB))])


def test_too_little_room_names_place_figures_and_the_next_step():
    """Exit 3, before anything is started."""
    with pytest.raises(EnvironmentFailure) as caught:
        check_space(MB, [room("/dev/shm", free=needed_bytes(MB) - 1, of="memory")])
    error = caught.value
    assert error.exit_code == 3
    assert error.where == "/dev/shm"
    assert "4,000,000 bytes of memory" in error.message
    assert "3,999,999 are free" in error.message
    assert "set TMPDIR" in error.hint
    assert "--scale" in error.hint


def test_places_on_one_file_system_share_its_room():
    """What either could take alone, both cannot."""
    data = room(free=needed_bytes(MB))
    cache = room("/cache", device=2, free=needed_bytes(MB), copies=CACHED)
    check_space(MB, [data, cache])
    with pytest.raises(EnvironmentFailure, match=r"5,000,000 bytes of disk \(5 copies"):
        check_space(MB, [data, room("/cache", free=needed_bytes(MB), copies=CACHED)])
