"""Cost curves and budgets as people see them: the terminal at 80 columns, and the page."""

from dataclasses import replace
from pathlib import Path

from bench import rows
from bench.store import Root
from command_line import bench
from reports.charts.figures import curve_charts
from reports.charts.looks import looks_of
from reports.curves import panels
from reports.render import render
from result_rows import HOSTILE, frame, save
from site_pages import leading_nowhere
from test_budget import FAST, GPU, SLOW, run_of


def test_the_terminal_holds_it_at_80_columns(tmp_path: Path) -> None:
    names = {"soflow": 1.0, "a_method_with_a_rather_long_name": 2.0}
    given = [
        r for m, v in names.items() for s in (0, 1) for r in run_of(m, [v + s / 7, v + s / 9], [1 + s / 7, 1234.5], seed=s)
    ]
    given += run_of("meanflow", [1.0, 1.0], [3.0, 4.0], 60.0)
    save(Root(tmp_path), given)
    result = bench("budget", "--hours", "2000", "--memory", "40", "--root", str(tmp_path))
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    words = " ".join(result.stdout.split())
    assert f"digits, T/2, {GPU}: within 2000 GPU-hours and 40 GB" in words
    assert "meanflow: training takes 60 GB" in words
    assert "…" not in result.stdout


def test_fid_is_a_short_name(tmp_path: Path) -> None:
    save(Root(tmp_path), FAST)
    long, short = (bench("budget", "--metric", m, "--root", str(tmp_path)).stdout for m in ("frechet_distance", "fid"))
    assert long == short != ""


def curves_page(tmp_path: Path, given: list[rows.Row]) -> str:
    root = Root(tmp_path / "root")
    save(root, given)
    text = render(root, tmp_path / "site").with_name("quality.html").read_text()
    return text[text.index('id="curves"') :]


def test_the_page_has_curves_and_a_few_budgets(tmp_path: Path) -> None:
    page = curves_page(tmp_path, [*SLOW, *FAST])
    assert page.count("<svg") == 3
    for title in ("against images seen", "against GPU-hours of training", "against peak memory of training"):
        assert f"Fréchet distance {title}" in page
    assert [text in page for text in ("2 GPU-hours", "4 GPU-hours", "8 GPU-hours")] == [True] * 3
    assert "Within 2 GPU-hours: soflow is ahead." in page
    assert "Within 8 GPU-hours: meanflow is ahead." in page


def test_without_snapshots_on_the_way_there_is_no_curve(tmp_path: Path) -> None:
    page = curves_page(tmp_path, run_of("soflow", [1.0], [1.0]))
    assert page.count("<svg") == 1  # memory
    assert page.count('scope="rowgroup"') == 1  # of a quarter and a half of the time there is nothing to tell


def test_names_on_the_page_are_text(tmp_path: Path) -> None:
    assert "<script>" not in curves_page(tmp_path, run_of(HOSTILE, [2.0, 1.0], [1.0, 2.0], run="r"))


def test_charts_show_the_means_at_each_snapshot() -> None:
    """The curve's points, not only its end: what is drawn moves with an early score."""

    def drawn(scores: list[float]) -> list[str]:
        [panel] = panels(frame(*run_of("soflow", scores, [1.0, 2.0])))
        return [chart.svg for chart in curve_charts(panel, looks_of([("soflow", "soflow")]))]

    one, two = drawn([4.0, 2.0]), drawn([3.0, 2.0])
    assert [a == b for a, b in zip(one, two, strict=True)] == [False, False, True]


def test_help_has_an_example() -> None:
    assert "Example: bench budget --hours 10 --memory 40" in " ".join(bench("budget", "--help").output.split())


def test_other_scores_have_curves_where_there_are_snapshots_and_no_budget(tmp_path: Path) -> None:
    others = [replace(r, metric="kernel_distance") for r in (*SLOW, *FAST) if r.metric == "frechet_distance"]
    page = curves_page(tmp_path, [*SLOW, *FAST, *others])
    assert page.count("<svg") == 6
    assert "Kernel distance against images seen" in page
    assert page.count("<caption") == 1
    once = [replace(r, run="another", images=1, metric="class_accuracy") for r in others[:1]]
    assert "Class accuracy against" not in curves_page(tmp_path / "again", [*SLOW, *FAST, *once])


def test_a_mark_on_the_way_leads_to_its_row(tmp_path: Path) -> None:
    """Rows of earlier snapshots stand in no table of scores, but on their run's page."""
    curves_page(tmp_path, [*SLOW, *FAST])
    assert leading_nowhere(tmp_path / "site") == []
