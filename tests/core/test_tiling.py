from __future__ import annotations

import pytest
import torch

from trainkit.core.tiling import joined, patches


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (9, 8), (8, 30), (31, 17), (64, 57), (5, 40)], ids=str)
@pytest.mark.parametrize(("shape", "overlap"), [((8, 8), 0), ((8, 8), 4), ((8, 6), 3), ((16, 8), 1)], ids=str)
def test_every_pixel_belongs_to_one_tile(size: tuple[int, int], shape: tuple[int, int], overlap: int) -> None:
    found = patches(size, shape, overlap)
    owners = torch.zeros(size, dtype=torch.int64)
    picture = torch.arange(size[0] * size[1]).view(size)
    height, width = (max(pair) for pair in zip(size, shape, strict=True))
    wide = torch.full((height, width), -1)
    wide[: size[0], : size[1]] = picture
    tiles = torch.stack([wide[one.top : one.top + shape[0], one.left : one.left + shape[1]] for one in found])
    for one in found:
        owners[one.own_top : one.own_bottom, one.own_left : one.own_right] += 1
    assert (owners == 1).all()
    assert torch.equal(joined(tiles, found), picture)


@pytest.mark.parametrize("overlap", [0, 4, 10])
def test_what_belongs_to_a_tile_is_not_at_its_border(overlap: int) -> None:
    """Half of the overlap at least, but where the picture ends."""
    for one in patches((200, 90), (32, 20), overlap):
        rows, columns = one.own
        assert one.top == 0 or rows.start >= overlap // 2
        assert one.top + 32 == 200 or 32 - rows.stop >= overlap // 2
        assert one.left == 0 or columns.start >= overlap // 2
        assert one.left + 20 == 90 or 20 - columns.stop >= overlap // 2


def test_as_few_tiles_as_cover_it() -> None:
    assert len(patches((100, 100), (32, 32), 0)) == 16
    assert len(patches((96, 32), (32, 32), 0)) == 3
    assert len(patches((60, 32), (32, 32), 4)) == 2
    assert len(patches((61, 32), (32, 32), 4)) == 3
