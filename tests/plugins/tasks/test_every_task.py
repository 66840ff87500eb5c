import pytest

from noether_core.testing import check_task
from tests.plugins.tasks.airfoil.test_sections import BLUNT, SHARP
from tests.plugins.tasks.airfoil.test_task import written

OPTIONS = {
    "airfoil": [{}],
    "darcy": [{}, {"n_points": 37, "permeability": "two_values"}],
    "potential": [{}, {"points_per_sample": 23}, {"axis_ratio": 1, "yaw": 0, "pitch": 0}],
}
CASES = [(name, options) for name, several in OPTIONS.items() for options in several]


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_a_task_that_is_solved_here_keeps_what_tasks_promise(name, options):
    check_task(name, options=options)


def test_the_task_of_real_sections_keeps_it_too(tmp_path):
    sections = tmp_path / "sections"
    sections.mkdir()
    for number, nodes in enumerate((SHARP, BLUNT, SHARP[::-1], SHARP[::2])):
        written(sections, f"{number}.dat", nodes)

    check_task("airfoil", options={"contours": str(sections)})
