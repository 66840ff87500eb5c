"""The model of the page on large meshes, from one file into another, against the whole at once."""

import pytest
import torch

from tests.docs.pages import blocks
from tests.fresh_environment import ROOT

WIDTH = 16
PAGE = (ROOT / "docs" / "large-meshes.md").read_text(encoding="utf-8")
OPTIONS = {
    "transolver": {"num_slices": 7},
    "transolver_plusplus": {"num_slices": 7},
    "flare": {"num_latents": 7},
    "flare_plusplus": {"num_latents": 7},
    "galerkin": {},
    "induced_set": {"num_latents": 7},
    "linear": {},
}


@pytest.fixture(scope="module")
def page():
    """Return what the page defines."""
    (code,) = (block.text for block in blocks(PAGE) if block.file == "large_mesh.py")
    names = {}
    exec(code, names)  # noqa: S102  ours
    return names


CASES = [
    ("transolver", 20_000),
    *(pytest.param(name, 200_000, marks=pytest.mark.nightly) for name in OPTIONS),
]


@pytest.mark.parametrize(("type", "tokens"), CASES)
@torch.no_grad()
def test_many_tokens_between_two_files_get_what_the_whole_gets(page, type, tokens, tmp_path):
    options = {"type": type, "num_heads": 2, "init_weights": "xavier", **OPTIONS[type]}
    layers = torch.nn.ModuleList(page["Layer"](WIDTH, **options) for _ in range(4)).eval()
    source, target = (page["mapped"](tmp_path / name, tokens, WIDTH) for name in ("in", "out"))
    source.normal_()
    page["evaluate"](layers, source, target, size=tokens // 3)

    whole = source
    for layer in layers:
        whole = layer(whole)
    torch.testing.assert_close(target, whole, rtol=1e-3, atol=1e-4)
