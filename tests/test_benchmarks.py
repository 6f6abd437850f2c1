"""The scripts that compare with other libraries: they run, in small, and their bookkeeping is right."""

import importlib
import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
SCRIPTS = runpy.run_path(str(BENCHMARKS / "__main__.py"))["SCRIPTS"]


def results() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (BENCHMARKS / "results").iterdir()}


@pytest.mark.slow
@pytest.mark.assets
@pytest.mark.parametrize("name", SCRIPTS)
def test_script_runs_in_small_and_writes_nothing(name, capsys):
    before = results()
    importlib.import_module(name).main(["--quick"])
    assert capsys.readouterr().out.strip()
    assert results() == before


def test_ratio_is_the_median_of_the_rounds():
    rounds = importlib.import_module("rounds")
    row = rounds.summary([(1.0, 2.0), (3.0, 2.0), (2.0, 2.0)])
    assert (row["ratio"], row["quartiles"], row["rounds"]) == (1.0, [0.75, 1.25], 3)
    assert (row["ours_seconds"], row["theirs_seconds"]) == (2.0, 2.0)


def test_each_round_runs_both_in_an_order_that_changes():
    rounds = importlib.import_module("rounds")
    calls = []
    row = rounds.compare(lambda: calls.append("ours"), lambda: calls.append("theirs"), target=0.5)
    warm_up, measured = calls[:2], calls[2:]
    assert sorted(warm_up) == ["ours", "theirs"]
    assert row["rounds"] == len(measured) // 2 == rounds.ROUNDS
    assert {tuple(measured[i : i + 2]) for i in range(0, len(measured), 2)} == {("ours", "theirs"), ("theirs", "ours")}
    assert row["target"] == 0.5


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (torch.ones(2), torch.ones(3)),
        (torch.ones(2), torch.tensor([1.0, 1.1])),
        ([1], [2]),
        (torch.tensor(1), torch.tensor(2)),
    ],
)
def test_different_results_are_not_timed(ours, theirs):
    rounds = importlib.import_module("rounds")
    rounds.require_equal(ours, ours, "the same")
    with pytest.raises(RuntimeError, match="addition: ours and theirs differ"):
        rounds.require_equal(ours, theirs, "addition")


def test_result_file_says_with_what_it_was_measured(tmp_path, monkeypatch):
    rounds = importlib.import_module("rounds")
    monkeypatch.setattr(rounds, "RESULTS", tmp_path)
    rounds.main("nothing", {"row": lambda quick: {"ratio": 0.5, "quick": quick}}, ("torch",), [])
    record = json.loads((tmp_path / "nothing.json").read_text(encoding="utf-8"))
    assert record["rows"] == {"row": {"ratio": 0.5, "quick": False}}
    assert record["threads"] == rounds.THREADS
    assert set(record["versions"]) == {"python", "torch"}
    assert record["processor"]
    rounds.main("other", {"row": lambda quick: {"quick": quick}}, ("torch",), ["--quick"])
    assert [path.name for path in tmp_path.iterdir()] == ["nothing.json"]


def test_exponent_is_that_of_the_law():
    growth = importlib.import_module("growth")
    row = growth.law([10, 20, 40], [3 * n**1.5 for n in (10, 20, 40)], "n · √n", "seconds")
    assert row["exponent"] == 1.5


@pytest.mark.parametrize(("arguments", "ran"), [([], SCRIPTS), (["growth", "--quick"], ["growth"])])
def test_bench_runs_each_script_and_reports_failures(arguments, ran, monkeypatch, capsys):
    program, commands = runpy.run_path(str(BENCHMARKS / "__main__.py")), []

    def run(command):
        commands.append(command)
        return SimpleNamespace(returncode=int("growth" in command[1]))

    monkeypatch.setattr(program["subprocess"], "run", run)
    assert program["main"](arguments) == 1
    assert [Path(command[1]).stem for command in commands] == list(ran)
    assert all((command[2:] == ["--quick"]) == ("--quick" in arguments) for command in commands)
    assert all(Path(command[1]).is_file() for command in commands)
    assert capsys.readouterr().err.strip() == "failed: growth"


def test_bench_names_the_scripts_it_has(capsys):
    program = runpy.run_path(str(BENCHMARKS / "__main__.py"))
    with pytest.raises(SystemExit):
        program["main"](["generatoin"])
    assert "there is no script 'generatoin'; choose from importing, " in capsys.readouterr().err


def test_strict_validation_times_the_stage_of_the_test_command():
    arguments = importlib.import_module("strict_validation").stage()
    assert arguments[:3] == ["-m", "pytest", "--nbval"] and arguments[-1] == "notebooks"
