"""The page of benchmarks holds what the result files hold, and its figures show what their titles say."""

import pytest

pytest.importorskip("sphinx", reason="the site's tools are not installed")

import benchmark_page

RATIO = {"ratio": 0.5, "quartiles": [0.4, 0.75]}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (RATIO, ("0.5 (0.4 to 0.75)", "no target", None)),
        (RATIO | {"target": 0.5}, ("0.5 (0.4 to 0.75)", "≤ 0.5", True)),
        (RATIO | {"target": 0.45}, ("0.5 (0.4 to 0.75)", "≤ 0.45", False)),
    ],
)
def test_ratio_is_reached_up_to_its_target(row, expected):
    assert benchmark_page.ratio(row) == expected


@pytest.mark.parametrize(
    ("lead", "said", "reached"), [(0.012, "+1.2", True), (0.0, "+0.0", True), (-0.01, "-1.0", False)]
)
def test_fine_tuning_counts_only_with_its_accuracy(lead, said, reached):
    row = RATIO | {"target": 0.6, "mean_lead": lead, "lead_interval": [lead - 0.02, lead + 0.02]}
    measured, _, is_reached = benchmark_page.accuracy(row)
    assert f"accuracy {said} points [" in measured
    assert is_reached is reached


def test_every_measured_row_is_shown():
    shown = {(line.script, line.row) for line in benchmark_page.LINES}
    files = {line.script for line in benchmark_page.LINES}
    assert shown == {(script, row) for script in files for row in benchmark_page.result(script)["rows"]}
    growth = set(benchmark_page.result("growth")["rows"])
    assert growth == {key for panel in benchmark_page.PANELS for key in panel.rows}


def test_table_has_a_line_for_each_and_says_what_is_not_reached():
    lines = benchmark_page.table()
    assert len(lines) == 2 + len(benchmark_page.LINES) + 4
    assert {line.rsplit("|", 2)[1].strip() for line in lines[2:]} <= {"yes", "**no**", ""}
    assert len({line.count("|") for line in lines}) == 1


def test_what_is_not_reached_is_explained():
    page = (benchmark_page.ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    why = page.partition("## What is not reached")[2].partition("\n## ")[0]
    kinds = {
        "Sentiment": "Fine-tuning",
        "The same, from strings": "Texts from strings",
        "One dense": "A dense batch",
        "GPT training step": "A GPT's training step",
        "Slowest answer": "Explorers",
    }
    missed = [line.split("|")[1].strip() for line in benchmark_page.table() if line.endswith("| **no** |")]
    for what in missed:
        (explained,) = [bold for start, bold in kinds.items() if what.startswith(start)]
        assert f"- **{explained}" in why


def test_results_are_of_one_machine_and_one_set_of_versions():
    (sentence,) = benchmark_page.setting()
    assert "torch" in sentence and "transformers" in sentence
    for script in {line.script for line in benchmark_page.LINES}:
        found = benchmark_page.result(script)["versions"]
        assert all(f"{name} {version}" in sentence for name, version in found.items())


def test_profiles_are_of_matrix_products_most_of_all():
    for script, row in benchmark_page.PROFILES.values():
        for times in benchmark_page.result(script)["rows"][row]["milliseconds"].values():
            assert times["matrix products"] == max(times.values())  # as the page says
    lines = benchmark_page.profiles()
    assert "optimiser" in lines[-2] and "none" in lines[-2] and "all else" in lines[-1]
    assert len({line.count("|") for line in lines}) == 1


def test_titles_of_growth_say_what_was_fitted():
    exponents = {key: row["exponent"] for key, row in benchmark_page.result("growth")["rows"].items()}
    assert 1.8 < exponents["attention_time"] < 2.6
    assert 1.8 < exponents["attention_memory"] < 2.1 and 0.9 < exponents["fused_memory"] < 1.1
    assert 0.6 < exponents["training_batch"] < 1.1 < exponents["training_width"] < 2.1
    assert 0.9 < exponents["wordpiece"] < 1.1 and 0.3 < exponents["bpe_training"] < 1
    assert 0.8 < exponents["decoding_with_cache"] < exponents["decoding_without_cache"] < 3


def test_figures_have_pictures_and_words():
    for panel in benchmark_page.PANELS:
        png, alt = benchmark_page.drawn(panel)
        assert png.startswith(b"\x89PNG")
        assert panel.title in alt and all(label in alt for label in panel.rows.values())
