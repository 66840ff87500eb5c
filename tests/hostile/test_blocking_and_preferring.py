"""Real packages blocked and preferred: by the environment, a registry, and qualified names."""

from __future__ import annotations

import pytest

from tests.light_environment import variant_source, write_wheel

STATES = """
import json, sys
from noether_core import NoetherError, Registry

known = Registry(**json.loads(sys.argv[1]))
results = {}
for name in sys.argv[2:]:
    try:
        known.get(name)
        results[name] = known.provider(name).distribution
    except NoetherError as error:
        results[name] = type(error).__name__
imported = sorted(name for name in sys.modules if name.endswith("_flow"))
print(json.dumps([results, imported]))
"""

NAMES = ("flow", "acme-flow:flow", "Best_Flow:flow", "cold-flow:flow")


@pytest.fixture(scope="module")
def sandbox(new_sandbox):
    """Three packages with one type; importing the third would end the program."""
    sandbox = new_sandbox()
    sources = {
        "acme": variant_source("flow"),
        "best": variant_source("flow"),
        "cold": "import os\nos._exit(9)\n",
    }
    sandbox.install(
        *(
            write_wheel(
                sandbox.folder,
                f"{name}-flow",
                {f"{name}_flow.py": source},
                version=f"{number}.0",
                plugins={"flow": f"{name}_flow"},
            )
            for number, (name, source) in enumerate(sources.items(), 1)
        )
    )
    return sandbox


def states(sandbox, *arguments, **variables):
    why = sandbox.json("why", "flow", *arguments, status=variables.pop("status", 0), **variables)
    return {
        row["candidate"].partition("-")[0]: f"{row['state']} {row['reason']}".strip()
        for row in why["candidates"]
    }


def notes(sandbox, *arguments, **variables):
    rows = sandbox.json("list", *arguments, **variables)
    return {
        row["distribution"].partition("-")[0]: row["note"] for row in rows if row["type"] == "flow"
    }


def test_without_a_choice_all_three_are_reported_as_ambiguous(sandbox):
    assert states(sandbox, status=1) == {
        "acme": "ambiguous best-flow:flow and cold-flow:flow",
        "best": "ambiguous acme-flow:flow and cold-flow:flow",
        "cold": "ambiguous acme-flow:flow and best-flow:flow",
    }
    assert notes(sandbox) == {
        name: f"ambiguous; write {name}-flow:flow" for name in ("acme", "best", "cold")
    }


BLOCKED = {
    "acme": "chosen",
    "best": "blocked by {}=best-flow",
    "cold": "blocked by {}=cold-flow:flow",
}


@pytest.mark.parametrize(
    ("sandbox_with_setting", "arguments", "variables"),
    [
        ("NOETHER_BLOCK", [], {"NOETHER_BLOCK": " Best_Flow, cold-flow:flow ,"}),
        ("block", ["--block", "Best_Flow", "--block", "cold-flow:flow"], {}),
    ],
)
def test_what_is_blocked_is_reported_with_what_blocks_it(
    sandbox, sandbox_with_setting, arguments, variables
):
    expected = {
        name: state.format(sandbox_with_setting).replace(" by ", " ")
        for name, state in BLOCKED.items()
    }
    assert states(sandbox, *arguments, **variables) == expected
    assert notes(sandbox, *arguments, **variables) == {
        "acme": "",
        "best": "blocked",
        "cold": "blocked",
    }


@pytest.mark.parametrize(
    ("sandbox_with_setting", "arguments", "variables"),
    [
        ("NOETHER_PREFER", [], {"NOETHER_PREFER": "nothing,best-flow, acme-flow"}),
        ("prefer", ["--prefer", "best-flow"], {"NOETHER_PREFER": "acme-flow"}),
    ],
)
def test_what_is_preferred_is_reported_with_what_prefers_it(
    sandbox, sandbox_with_setting, arguments, variables
):
    assert states(sandbox, *arguments, **variables) == {
        "acme": "passed over best-flow:flow",
        "best": f"preferred {sandbox_with_setting}=best-flow",
        "cold": "passed over best-flow:flow",
    }
    assert notes(sandbox, *arguments, **variables) == {
        "acme": "passed over; write acme-flow:flow",
        "best": "preferred",
        "cold": "passed over; write cold-flow:flow",
    }
    assert sandbox.json("why", "flow", *arguments, **variables)["sentence"] == (
        f"'flow' is best-flow:flow of best-flow 2.0, preferred by {sandbox_with_setting}=best-flow."
    )


def test_a_qualified_name_needs_no_choice_and_is_explained_alone(sandbox):
    why = sandbox.json("why", "Acme_Flow:flow", NOETHER_PREFER="best-flow")
    assert [(row["candidate"], row["state"]) for row in why["candidates"]] == [
        ("acme-flow:flow", "chosen")
    ]
    assert why["sentence"] == "'Acme_Flow:flow' is acme-flow:flow of acme-flow 1.0."


@pytest.mark.parametrize(
    ("how", "variables", "results", "imported"),
    [
        (
            '{"block": ["cold-flow"]}',
            {},
            ["AmbiguousTypeError", "acme-flow", "best-flow", "UnknownTypeError"],
            ["acme_flow", "best_flow"],
        ),
        (
            '{"block": ["best-flow"]}',
            {"NOETHER_BLOCK": "cold-flow:flow"},
            ["acme-flow", "acme-flow", "UnknownTypeError", "UnknownTypeError"],
            ["acme_flow"],
        ),
        (
            '{"prefer": ["best-flow:flow"], "block": ["cold-flow"]}',
            {"NOETHER_PREFER": "acme-flow"},
            ["best-flow", "acme-flow", "best-flow", "UnknownTypeError"],
            ["acme_flow", "best_flow"],
        ),
    ],
)
def test_a_registry_of_ones_own_blocks_and_prefers_beside_the_environment(
    sandbox, how, variables, results, imported
):
    reason, loaded = sandbox.python(STATES, how, *NAMES, **variables)
    assert reason == dict(zip(NAMES, results, strict=True))
    assert loaded == imported


@pytest.mark.parametrize(
    ("variables", "message", "remedy"),
    [
        (
            {"NOETHER_BLOCK": "acme-flw"},
            "'acme-flw' names no plugin that is installed",
            "did you mean 'acme-flow'?",
        ),
        (
            {"NOETHER_BLOCK": "flow"},
            "'flow' names no plugin that is installed",
            "write acme-flow:flow or best-flow:flow or cold-flow:flow",
        ),
        (
            {"NOETHER_PREFER": "zebra:stripes"},
            "'zebra:stripes' names no plugin that is installed",
            "take it out, or install what it names",
        ),
        (
            {"NOETHER_PREFER": "acme-flow:flow", "NOETHER_BLOCK": "acme-flow"},
            "'acme-flow:flow' is blocked by NOETHER_BLOCK=acme-flow",
            "take one of them back",
        ),
    ],
)
def test_doctor_finds_settings_that_do_nothing(sandbox, variables, message, remedy):
    found = sandbox.json("doctor", "--no-import", **variables)["findings"]
    (finding,) = [finding for finding in found if finding["check"] == "setting"]
    assert (finding["severity"], finding["message"], finding["remedy"]) == (
        "warning",
        message,
        remedy,
    )
    assert finding["origin"] == next(iter(variables))


REGISTER = """
import attrs
from typing import Literal
from noether_core import AttentionConfig, registry


@attrs.frozen(kw_only=True)
class Config(AttentionConfig):
    type: Literal["{type}"] = "{type}"


known = registry()
known.register(attrs.evolve(known.get("dot_product"), config=Config))
"""


def test_types_that_a_module_registers_are_listed_explained_and_chosen_among(sandbox):
    (sandbox.folder / "here").mkdir()
    for name in ("mine", "flow"):
        (sandbox.folder / "here" / f"{name}_registered.py").write_text(REGISTER.format(type=name))
    variables = {
        "PYTHONPATH": str(sandbox.folder / "here"),
        "NOETHER_REGISTER": "mine_registered, flow_registered",
        "NOETHER_PREFER": "in-process",
    }
    why = sandbox.json("why", "mine", **variables)
    assert why["means"] == "in-process:mine"
    assert why["sentence"] == "'mine' is in-process:mine registered in this process."
    rows = sandbox.json("list", **variables)
    assert "mine" in {row["type"] for row in rows}
    assert states(sandbox, **variables)["in"] == "preferred NOETHER_PREFER=in-process"
    assert notes(sandbox, **variables)["in"] == "preferred"
    unneeded = ",".join(
        f"noether-attention:{row['type']}"
        for row in rows
        if row["distribution"] == "noether-attention" and row["type"] != "dot_product"
    )
    variables["NOETHER_BLOCK"] = unneeded
    found = sandbox.json("doctor", "--slow", "5000", status=1, **variables)["findings"]
    assert [
        finding
        for finding in found
        if "registered" in finding["message"] or finding["check"] == "setting"
    ] == []


def test_doctor_finds_modules_to_register_that_cannot_be_imported_or_register_nothing(sandbox):
    variables = {
        "NOETHER_REGISTER": "nowhere_at_all,json",
        "NOETHER_BLOCK": "cold-flow,noether-attention",
    }
    found = sandbox.json("doctor", "--slow", "5000", status=1, **variables)["findings"]
    reason = {
        finding["message"]: finding["severity"]
        for finding in found
        if finding["origin"] == "NOETHER_REGISTER"
    }
    assert reason == {
        (
            "nowhere_at_all cannot be imported: ModuleNotFoundError: No module named "
            "'nowhere_at_all'"
        ): "error",
        "json registers no type": "warning",
    }
    listed = sandbox.run("noether", "list", **variables)
    assert "NOETHER_REGISTER: nowhere_at_all cannot be imported" in listed.stderr
