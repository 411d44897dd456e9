"""The list of faults fits the code, and the battery tells caught faults from survivors."""

import subprocess

import pytest

from tests.mutation.__main__ import chosen, markdown, read_outcomes
from tests.mutation.battery import ROOT, changed_since, copied, run_fault
from tests.mutation.faults import Fault, read_faults

FAULTS = read_faults()
ROOMS = {path.parent.name for path in ROOT.glob("jaxmnist/*/__init__.py")} - {"pretrained"}


def test_every_fault_changes_its_file_in_one_place_and_leaves_it_python():
    stale = []
    for fault in FAULTS:
        changed = fault.applied((ROOT / fault.file).read_text())
        if changed is None or fault.old == fault.new:
            stale.append(fault.name)
        else:
            compile(changed, fault.file, "exec")
    assert not stale, "correct these faults in tests/mutation/lists"


def test_the_tests_of_every_fault_exist():
    gone = []
    for fault in FAULTS:
        assert fault.tests, fault.name
        for place in fault.tests:
            file, _, name = place.partition("::")
            text = (ROOT / file).read_text() if (ROOT / file).is_file() else ""
            if not text or (name and f"def {name.partition('[')[0]}(" not in text):
                gone.append(place)
    assert not gone


def test_there_are_faults_in_every_room_under_names_of_their_own():
    assert len(FAULTS) >= 120
    assert {fault.name for fault in FAULTS} == {fault.name: None for fault in FAULTS}.keys()
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert {fault.room for fault in FAULTS} >= ROOMS


def test_parts_are_all_faults_and_none_is_in_two():
    parts = [chosen(FAULTS, f"{index}/3", None, None) for index in (1, 2, 3)]
    assert sorted(fault.name for part in parts for fault in part) == sorted(fault.name for fault in FAULTS)
    assert {fault.room for fault in chosen(FAULTS, "1/1", ["optim"], None)} == {"optim"}


@pytest.fixture
def repository(tmp_path):
    """A repository with a function and two tests of it, one of which looks closely."""
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "sums.py").write_text("def add(a, b):\n    return a + b\n")
    (tmp_path / "test_sums.py").write_text(
        "from pack.sums import add\n\n\ndef test_zero():\n    assert add(0, 0) == 0\n\n\n"
        "def test_two():\n    assert add(1, 2) == 3\n"
    )
    for command in (
        ["init"],
        ["add", "."],
        ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "-m", "x"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "new.txt").write_text("")
    return tmp_path


def test_a_fault_is_caught_if_a_test_fails_and_the_copy_is_as_it_was(repository):
    fault = Fault("sums are sums", "pack/sums.py", "a + b", "a - b", ("test_sums.py",))
    near = fault._replace(tests=("test_sums.py::test_zero",))
    broken = fault._replace(new="a +")
    stale = fault._replace(old="a * b")
    with copied(repository) as copy:
        verdicts = [run_fault(one, copy).verdict for one in (fault, near, broken, stale)]
        assert (copy / "new.txt").is_file()
        assert (copy / fault.file).read_text() == (repository / fault.file).read_text()
    assert verdicts == ["caught", "survived", "not applicable", "not applicable"]
    assert not copy.exists()
    (repository / fault.file).write_text("")
    assert changed_since("HEAD", repository) - {""} == {fault.file}


def test_the_documentation_has_the_table_of_the_file_of_results_and_no_survivor():
    outcomes = read_outcomes(ROOT / "docs" / "results" / "mutation.json")
    assert markdown(FAULTS, outcomes) in (ROOT / "docs" / "reliability.md").read_text()
    assert [name for name, outcome in outcomes.items() if outcome.verdict != "caught"] == []
