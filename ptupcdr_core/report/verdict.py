"""The page's first words: which method is best, and whether the difference to the strongest simple baseline is real."""

from dataclasses import dataclass

import pandas as pd

from ptupcdr_core.evaluation.significance import METRICS, best_methods, compare
from ptupcdr_core.report.facts import Facts
from ptupcdr_core.report.style import SIMPLE, style


@dataclass(frozen=True)
class Verdict:
    """What the evaluation says.

    Args:
        headline: one sentence.
        explanation: the numbers behind it.
        rows: of the table of methods, best first.
    """

    headline: str
    explanation: str
    rows: list[dict[str, object]]


def judge(facts: Facts) -> Verdict:
    """Compare every method with the strongest simple baseline, by RMSE and MAE, Holm-corrected over the methods."""
    scores = facts.scores.set_index("method")
    simple = [method for method in scores.index if method in SIMPLE]
    learned = [method for method in scores.index if method not in SIMPLE]
    if not simple or not learned:
        return Verdict(f"Lowest error: {style(scores.index[0]).name}.", "There is nothing to compare it with.", [])
    baseline, best = simple[0], learned[0]
    without_personal = facts.bridges.personal.strength == 0 and best == "ptupcdr" and "common_bridge" in learned
    if without_personal:
        best = "common_bridge"
    table = compare(facts.errors, [(m, baseline) for m in scores.index if m != baseline])
    differences = table.set_index(["first", "metric"])
    bold = {metric: best_methods(facts.errors, metric) for metric in METRICS}
    rows = [_row(method, scores, differences, baseline, bold) for method in scores.index]
    explanation = _explanation(best, baseline, scores, differences)
    return Verdict(_headline(best, baseline, differences), explanation + _SAME * without_personal, rows)


_SAME = (
    " PTUPCDR is the same as the common bridge here: validation users were served best without a personal part, so it "
    "is switched off."
)


def _headline(best: str, baseline: str, differences: pd.DataFrame) -> str:
    """One verdict where MAE and RMSE agree, else one for each."""
    name, simple = style(best).subject, style(baseline).name
    found = {metric: _direction(differences.loc[(best, metric)]) for metric in METRICS}
    if len(set(found.values())) == 1:
        return {
            -1: f"{name} predicts best: its error is significantly lower than that of the strongest simple baseline, "
            f"{simple}.",
            0: f"No method is significantly better than the strongest simple baseline, {simple}; "
            f"{name} has the lowest error.",
            1: f"The simple baseline {simple} predicts best: {name}, the best of the other methods, is significantly "
            f"worse.",
        }[found["rmse"]]
    words = {-1: "significantly better", 0: "no significant difference", 1: "significantly worse"}
    told = ", ".join(f"{words[found[metric]]} by {metric.upper()}" for metric in METRICS)
    return f"{name}, the best method, against the strongest simple baseline, {simple}: {told}."


def _explanation(best: str, baseline: str, scores: pd.DataFrame, differences: pd.DataFrame) -> str:
    parts = []
    for metric in METRICS:
        row = differences.loc[(best, metric)]
        parts.append(
            f"{metric.upper()} {scores.loc[best, metric]:.4f} against {scores.loc[baseline, metric]:.4f} stars, a "
            f"difference of {signed(row['difference'])} (95 % interval {signed(row['low'])} to {signed(row['high'])}, "
            f"{_p(row['p_holm'])} after Holm's correction)"
        )
    return (
        f"{style(best).subject} against {style(baseline).name}: {'; '.join(parts)}. "
        "A negative difference means fewer stars of error."
    )


def _row(
    method: str, scores: pd.DataFrame, differences: pd.DataFrame, baseline: str, bold: dict[str, set[str]]
) -> dict[str, object]:
    row: dict[str, object] = {"name": style(method).name, "explanation": style(method).explanation}
    for metric in METRICS:
        row[metric] = f"{scores.loc[method, metric]:.4f}"
        row[f"{metric}_interval"] = (
            f"{scores.loc[method, f'{metric}_low']:.3f}–{scores.loc[method, f'{metric}_high']:.3f}"
        )
        # What is printed alike is the same to a reader, even where the digits after it differ on every user.
        row[f"{metric}_best"] = method in bold[metric] or row[metric] == f"{scores[metric].min():.4f}"
    if method == baseline:
        return {**row, "difference": "", "verdict": "strongest simple baseline"}
    found = differences.loc[(method, "rmse")]
    words = {-1: "better", 0: "no significant difference", 1: "worse"}
    return {**row, "difference": signed(found["difference"]), "verdict": words[_direction(found)]}


def _direction(row: "pd.Series[float]") -> int:
    """-1 better, 0 not significantly different, 1 worse."""
    if not row["different"]:
        return 0
    return -1 if row["difference"] < 0 else 1


def signed(value: float) -> str:
    """A difference with its sign, a real minus and four digits."""
    return f"{value:+.4f}".replace("-", "−")


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
