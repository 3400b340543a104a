r"""Results in LaTeX: metrics are sections, step counts columns, seeds and spreads said once where they are one and the same."""

from latex_samples import body, kinds, realistic_tables, tabulars
from reports import forms, tables
from reports.grids import Grid
from reports.latex.text import escape_latex
from result_rows import failed, frame, row


def test_metrics_are_sections_and_step_counts_columns() -> None:
    given = [row(m, value=v, steps=s) for m, v in (("soflow", 1.0), ("meanflow", 2.0)) for s in (1, 4)]
    given += [
        row(m, metric="class_accuracy", value=v, steps=s) for m, v in (("soflow", 0.7), ("meanflow", 0.9)) for s in (2, 4)
    ]
    [table] = tables.quality(frame(*given))
    [(columns, rows)] = tabulars(forms.render(table, "latex"))
    assert columns == "lrrr"
    assert rows == [
        ["method", "1 step", "2 steps", "4 steps"],
        [r"\multicolumn{4}{@{}l@{}}{\emph{Fréchet distance $\downarrow$}}"],
        [r"\quad soflow", r"\textbf{1}", "--", r"\textbf{1}"],
        [r"\quad meanflow", "2", "--", "2"],
        [r"\multicolumn{4}{@{}l@{}}{\emph{class accuracy $\uparrow$}}"],
        [r"\quad soflow", "--", "0.7000", "0.7000"],
        [r"\quad meanflow", "--", r"\textbf{0.9000}", r"\textbf{0.9000}"],
    ]


def test_metrics_without_steps_are_packed_into_further_tabulars() -> None:
    metrics = [metric for metric in tables.COST if metric != "latency_ms"]
    given = [row(m, metric=metric, value=1e3, unit="unit/s") for m in ("soflow", "flow_matching") for metric in metrics]
    given += [row(m, metric="latency_ms", value=3.0, steps=s, unit="ms") for m in ("soflow", "flow_matching") for s in (1, 2)]
    [table] = tables.cost(frame(*given))
    text = forms.render(table, "latex")
    first, *others = tabulars(text)
    assert first[1][1] == [r"\multicolumn{3}{@{}l@{}}{\emph{latency (ms) $\downarrow$}}"]
    assert len(others) > 1
    assert text.count(r"\begin{table}") == 1
    heads = []
    for columns, rows in others:
        high = next(i for i, cells in enumerate(rows) if cells[0] == "method") + 1
        heads += [" ".join(filter(None, (cells[i] for cells in rows[:high]))) for i in range(1, len(kinds(columns)))]
        assert [cells[0] for cells in rows[high:]] == [escape_latex(line.name) for line in table.lines]
    assert heads == [escape_latex(column.metric_text) for column in table.columns if column.steps is None]
    sizes = [len(kinds(columns)) for columns, _ in others]
    assert max(sizes) - min(sizes) <= 2


def test_seeds_are_in_the_notes_where_all_have_as_many_and_else_columns() -> None:
    given = [row(m, s, value=1.0 + s, sample_seed=k) for m in ("soflow", "meanflow") for s in (0, 1, 2) for k in (0, 1)]
    [table] = tables.quality(frame(*given))
    text = forms.render(table, "latex")
    assert r"\footnotesize\raggedright 3 training seeds, 2 sampling seeds. " in text
    assert body(text)[0] == ["method", "1 step"]
    [table] = tables.quality(frame(*given[:-2], failed("meanflow", 2)))
    text = forms.render(table, "latex")
    assert r"\footnotesize\raggedright 2 sampling seeds. " in text
    assert tabulars(text)[0][0] == "lrr"
    assert [cells[-1] for cells in body(text)] == ["training seeds", body(text)[1][0], "2 of 3", "3"]
    [table] = tables.quality(frame(*given[:-1], row("flow_matching", sample_seed=None)))
    assert [cells[-2:] for cells in body(forms.render(table, "latex"))][-1][-1] in ("2", "0")
    assert "training seeds" in body(forms.render(table, "latex"))[0]
    [table] = tables.cost(frame(row(metric="train_seconds", unit="s")))
    assert r"\footnotesize\raggedright 1 training seed. " in forms.render(table, "latex")


def test_seeds_are_columns_of_the_first_tabular_alone() -> None:
    texts = [forms.render(table, "latex") for table in realistic_tables()]
    assert all("seeds" in " ".join(tabulars(text)[0][1][0] + tabulars(text)[0][1][1]) for text in texts)
    assert not any("seeds" in str(rows) for text in texts for _, rows in tabulars(text)[1:])


def test_what_stands_beside_a_value_is_named_once_or_at_each() -> None:
    sampled = [row(value=v, sample_seed=k, standard_error=0.5) for k, v in enumerate((1.0, 2.0, 6.0))]
    [table] = tables.quality(frame(*sampled))
    text = forms.render(table, "latex")
    assert body(text)[-1] == [r"\quad soflow", r"3.0 {\footnotesize (2.6)}"]
    assert "In parentheses: sampling sd. " in text
    [table] = tables.quality(frame(*sampled, row("meanflow", value=5.0, sample_seed=0, standard_error=0.5)))
    text = forms.render(table, "latex")
    assert "In parentheses" not in text
    assert [cells[1] for cells in body(text)[-2:]] == [r"\textbf{3.0} (sampling sd 2.6)", "5.00 (standard error 0.50)"]
    grid = Grid("T", ("score", "1 step"), (("FID", "0.29 (sampling sd 0.08)"), ("IS", "-1.0 (sampling sd 0.1)")))
    assert body(grid.render("latex"))[1:] == [["FID", r"0.29 {\footnotesize (0.08)}"], ["IS", r"$-$1.0 {\footnotesize (0.1)}"]]
    assert r"In parentheses: sampling sd.\par}" in grid.render("latex")


def test_marks_and_failures_stay() -> None:
    values = {"soflow": (1.0, 2.0), "meanflow": (1.5, 2.5)}
    given = [row(m, s, value=v) for m, of in values.items() for s, v in enumerate(of)]
    text = forms.render(tables.quality(frame(*given, failed("a_b", 0)))[0], "latex")
    assert r"\textbf{1.50 $\pm$ 0.71}" in text
    assert r"$\approx$ 2.00 $\pm$ 0.71" in text
    assert r"a\_b, seed 0: failed, the loss is not finite.\par}" in text
