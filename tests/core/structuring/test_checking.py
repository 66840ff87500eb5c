"""The configs in a document are checked each by itself."""

from noether_core.errors import MOST_PROBLEMS
from noether_core.structuring.checking import check_configs
from noether_core.structuring.documents import parse
from noether_core.structuring.paths import DocumentPath

FLARE = "{type: flare, hidden_dim: 8, num_heads: 2}"


def test_the_document_itself_is_a_config_where_no_path_is_given():
    (checked,) = check_configs(parse(FLARE, "yaml"), None)
    assert (checked.path, checked.config.type, checked.problems) == ("", "flare", ())


def test_every_config_is_there_or_what_is_wrong_with_it():
    text = f"a: {FLARE}\nb: {FLARE.replace('2', '3')}\nc: 1\n"
    good, wrong, none = check_configs(parse(text, "yaml"), DocumentPath("*"))
    assert (good.path, good.config.num_heads) == ("a", 2)
    assert (wrong.config, none.config) == (None, None)
    (problem,) = wrong.problems
    assert (problem.path, problem.line, problem.column) == ("b.num_heads", 2, 44)
    (problem,) = none.problems
    assert (problem.path, problem.line) == ("c", 3)


def test_a_path_that_leads_to_nothing_is_reported_beside_what_it_leads_to():
    text = f"a: {{attention: {FLARE}}}\nb: {{}}\n"
    found, dead_end = check_configs(parse(text, "yaml"), DocumentPath("*.attention"))
    assert found.config.type == "flare"
    assert [problem.headline for problem in dead_end.problems] == [
        "<text>:2:1: b.attention: nothing stands here"
    ]


def test_a_file_with_more_problems_than_are_reported_is_not_looked_at_to_its_end():
    text = "blocks:\n" + "- {type: flare}\n" * 3_000
    checked = check_configs(parse(text, "yaml"), DocumentPath("blocks[*]"))
    assert len(checked) < 300
    assert sum(len(each.problems) for each in checked) < MOST_PROBLEMS + 10
    (last,) = checked[-1].problems
    assert (
        last.message == "there are more than 500 problems; what stands behind this is not looked at"
    )
    assert last.line == len(checked)
