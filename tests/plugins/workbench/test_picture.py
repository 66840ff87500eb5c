"""The picture that fits any task."""

import matplotlib.image
import pytest

from noether_plugins.workbench.picture import draw
from tests.plugins.workbench.tiny_task import TinyTask, TinyTaskConfig


@pytest.mark.parametrize("coordinates", [1, 2, 3])
def test_every_field_is_drawn_true_predicted_and_different(coordinates, tmp_path):
    task = TinyTask(TinyTaskConfig(coordinates=coordinates), seed=0)
    sample = task.test[0]
    predicted = {
        group: {name: values + 0.1 for name, values in points.fields.items()}
        for group, points in sample.groups.items()
    }
    file = tmp_path / "picture.png"
    file.write_bytes(draw(sample, task.layout, predicted, title="any"))
    height, width, _ = matplotlib.image.imread(file).shape
    assert width == pytest.approx(3 * 4.2 * 130, abs=2)
    assert height == pytest.approx((3 * 3.2 + 0.5) * 130, abs=2)
