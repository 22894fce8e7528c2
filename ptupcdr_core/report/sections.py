"""The sections of a page, in plain words; a section with nothing to show says why."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ptupcdr_core.evaluation.significance import RESAMPLES
from ptupcdr_core.modes.ranking.cold_start import RANKING_COLUMNS
from ptupcdr_core.report import charts, embeddings
from ptupcdr_core.report.attention import Attention
from ptupcdr_core.report.drawing import Picture
from ptupcdr_core.report.facts import Facts
from ptupcdr_core.report.ranks import picture as draw_ranks
from ptupcdr_core.report.ranks import ranks
from ptupcdr_core.report.style import SIMPLE, listed, style

COMPARED = ("ptupcdr", "common_bridge", "emcdr")
"""Drawn where there is room for few, beside the two best simple baselines."""


@dataclass(frozen=True)
class Section:
    """A heading, text, pictures and tables.

    Args:
        key: its anchor.
        title: its heading.
        caption: paragraphs.
        pictures: may be empty.
        tables: (heading, frame of cells), folded away below the pictures.
    """

    key: str
    title: str
    caption: list[str]
    pictures: list[Picture] = field(default_factory=list)
    tables: list[tuple[str, pd.DataFrame]] = field(default_factory=list)


def intervals(facts: Facts) -> Section:
    """Every method's error with its interval."""
    pictures, note = charts.intervals(facts.scores)
    caption = [
        f"Each mark is a method's error on all {facts.labels['ratings']:,} held-out ratings of "
        f"{facts.labels['users']:,} test users; its line holds 95 % of {RESAMPLES:,} resamples of these users. Lines "
        "that overlap can still differ significantly, for all methods were measured on the same users: the table above "
        "compares them user by user.",
        note,
    ]
    return Section("intervals", "How sure the numbers are", caption, pictures)


def betas(facts: Facts) -> Section:
    """Errors over β from the benchmark."""
    title = "Errors with fewer and fewer people to learn from"
    if facts.benchmark is None:
        missing = (
            f"There is no benchmark of this pair yet. `ptupcdr benchmark {facts.pair}` measures the methods at several "
            f"β and seeds; `ptupcdr backfill {facts.pair}` then draws the curves here."
        )
        return Section("beta", title, [missing])
    pictures, note = charts.beta_curves(facts.benchmark)
    seeds = facts.benchmark["seed"].nunique()
    marks = f"the mean over {seeds} seeds; bars are one standard deviation over seeds" if seeds > 1 else "of one seed"
    caption = [
        "β is the fraction of overlapping people who are held out; the others teach the bridge, so further right there "
        f"is less to learn from. Each mark is {marks}.",
        note,
    ]
    if facts.benchmark["beta"].nunique() == 1:
        caption.append("The benchmark has one β only: there are points, but no curves to see.")
    orders = {
        recipe: found for recipe in sorted(set(facts.benchmark["recipe"])) if (found := ranks(facts.benchmark, recipe))
    }
    if orders:
        caption.append(
            "The last picture ranks the methods by RMSE in every cell (the best base model of each): a thick bar joins "
            "methods whose mean ranks do not differ (Friedman, Nemenyi, 5 %). The cells of a pair share their ratings, "
            "so it says how steady the order is; the paired tests of the tables say whether a difference is real."
        )
    pictures += [draw_ranks(found, recipe) for recipe, found in orders.items()]
    return Section("beta", title, caption, pictures)


def curves(facts: Facts) -> Section:
    """Losses and validation errors by epoch."""
    chosen = facts.bridges.chosen.get("ptupcdr_epoch")
    epoch = None if chosen is None else int(chosen)
    pictures = charts.learning_curves(facts.curves, epoch)
    title = "How the training went"
    if not pictures:
        missing = (
            "The checkpoints of this pair were made before curves were kept with them. "
            f"`ptupcdr backfill {facts.pair} --force` trains them again."
        )
        return Section("learning", title, [missing])
    caption = ["Each panel shows one quantity by epoch; training should lower it."]
    if any(name.startswith("ptupcdr") for name in facts.curves["meta_network"]):
        caption.append(
            f"The ring marks PTUPCDR's epoch {epoch}, which had the lowest error on the validation users and was kept."
        )
        if epoch == 0:
            caption.append("It is the start: training on from there did not help people it was not trained on.")
    else:
        caption.append(
            "The bridges have no curve: they were computed in closed form, and no personal part was promising enough "
            "to be trained further."
        )
    return Section("learning", title, caption, pictures)


def user_embeddings(facts: Facts) -> Section:
    """Bridged and own embeddings of test users, as in the paper's figure."""
    title = "Where people are put in the target domain"
    embedded = embeddings.embed(facts)
    if embedded is None:
        few = (
            f"Fewer than {embeddings.FEWEST_USERS} test users have {embeddings.FEWEST_RATINGS} target ratings, or all "
            "are put in the same place: there is nothing to compare the bridged embeddings with."
        )
        return Section("embeddings", title, [few])
    measured = [
        f"{style(method).name}: nearer to the person's own point than to {percent(embedded.nearer_than_others(method))}"
        f" of the others' (chance: 50 %), spread {percent(embedded.spread(method))} as wide"
        for method in embedded.bridged
    ]
    caption = [
        f"Grey dots: {len(embedded.users):,} test users, placed by their own held-out target ratings. Coloured "
        "crosses: the same people, placed by a bridge that saw only their source history. t-SNE (fixed seed) puts "
        "people together whose predicted ratings would be alike; the axes mean nothing. Crosses amid the dots mean "
        "that the bridge gives people realistic tastes; crosses away from the dots, or all in one place, mean that it "
        "does not.",
        f"In numbers, before any layout. {'; '.join(measured)}. A narrow spread is caution: where little carries over, "
        "predictions near the mean have the lowest error.",
    ]
    return Section("embeddings", title, caption, [embeddings.picture(embedded)])


def attention(facts: Facts, attention: Attention | None) -> Section:
    """What the meta network looks at; the bars themselves are drawn by the page."""
    title = "Which items of a history count"
    if attention is None:
        return Section("attention", title, ["No test user has a history of two liked items: there is no attention."])
    caption = [
        "The meta network reads the last liked source items of a person and weighs them; the weights of a history sum "
        f"to 1. Shown are the items with the most weight of {len(attention.people)} test users with long histories, "
        "from the most concentrated attention to the most even. The thin mark is the even weight."
    ]
    if attention.uniform:
        caption.append(
            "There is nothing to read in the bars: every test user's items have the same weight, or nearly so (the "
            f"heaviest item of all has {attention.heaviest:.3f} times the even weight). Training starts in closed "
            "form, which weighs all items alike, and validation users were not served better far from that start. The "
            "personal bridge is then written from the plain mean of the history."
        )
    else:
        caption.append(
            f"Over all test users the heaviest item has {attention.concentration:.2f} times the even weight on average."
        )
    if facts.bridges.personal.strength == 0:
        caption.append(
            "The personal part of the bridge is switched off (strength 0), since validation users were served best "
            "without it: these weights do not change any prediction."
        )
    return Section("attention", title, caption)


def slices(facts: Facts) -> Section:
    """Errors by slices of users and items."""
    title = "For whom it works"
    if facts.slices.empty:
        missing = f"`ptupcdr backfill {facts.pair} --force` measures the errors by slices."
        return Section("slices", title, [f"This evaluation was made before slices were kept. {missing}"])
    ranked = list(facts.scores["method"])
    simple = [method for method in ranked if method in SIMPLE][:2]
    methods = [method for method in ranked if method in (*COMPARED, *simple)]
    pictures, note = charts.slices(facts.slices, methods)
    caption = [
        "The same errors, split by how many liked items the person has in the source (at most as many as the history "
        "keeps), by how many of the person's target ratings are predicted, and by how often the target item was rated "
        f"in training. Drawn: {listed(methods)}. n is the number of ratings: where it is small, differences are "
        "chance. Few occupied buckets mean that the people or items of this pair are much alike in that number.",
        note,
    ]
    tables = [(charts.SLICES[name], _slice_table(facts, name)) for name in charts.SLICES]
    return Section("slices", title, caption, pictures, [(head, frame) for head, frame in tables if len(frame)])


def warm(facts: Facts) -> Section:
    """Errors after the first known target ratings."""
    title = "After the first target ratings"
    if facts.warm_start is None:
        missing = (
            "There is no warm-start evaluation of this pair: how much the errors fall once a person has rated a few "
            "target items was not measured."
        )
        return Section("warm", title, [missing])
    pictures, note = charts.warm_start(facts.warm_start)
    caption = [
        "The bridged embedding is where fine-tuning starts. From left to right more of a person's earlier target "
        "ratings are known; the error is on the later half, which no method has seen.",
        note,
    ]
    return Section("warm", title, caption, pictures)


def rankings(measured: pd.DataFrame | None) -> Section:
    """The lists that recommendations are made of: a row a method; None where none were made."""
    title = "How good the lists are"
    if measured is None:
        return Section("lists", title, ["No lists were ranked: the mode was rating, or the recipe ranks nothing."])
    found = measured.sort_values("ndcg_at_10", ascending=False, kind="stable")
    rows = found.set_index("method")
    own, popular = rows.loc["ptupcdr"], rows.loc["popularity"]
    caption = [
        f"Every target item competes for the first ten places; an item counts if the person took it. PTUPCDR's NDCG@10 "
        f"is {own['ndcg_at_10']:.4f} (95 % interval {own['ndcg_at_10_low']:.4f} to {own['ndcg_at_10_high']:.4f}), "
        f"{own['ndcg_at_10'] / popular['ndcg_at_10']:.2f} times that of the most popular items, which are the same for "
        "everybody. Recommendations come from these lists.",
        f"Beyond accuracy: {percent(own['coverage_at_10'])} of all target items are in somebody's first ten "
        "(coverage). Self-information is the surprise of a listed item in bits, one bit for an item that half of the "
        f"people took. {percent(own['long_tail_at_10'])} of the listed items are of the long tail, outside the few "
        "that make up four fifths of what was taken.",
    ]
    if own["ndcg_at_10"] == rows.loc["common_bridge", "ndcg_at_10"]:
        caption.append("The personal part did not help validation users enough: these are the common bridge's lists.")
    columns = {"method": [style(str(method)).name for method in found["method"]]}
    measures = {name: [f"{value:.4f}" for value in found[name]] for name in RANKING_COLUMNS}
    return Section("lists", title, caption, tables=[("method", pd.DataFrame(columns | measures))])


def _slice_table(facts: Facts, name: str) -> pd.DataFrame:
    rows = facts.slices[facts.slices["slice"] == name].sort_values("at_least")
    if rows.empty:
        return rows
    labels = [charts.bucket_label(row).replace("\nn=", ": ") for row in rows.to_dict("records")]
    cells = [f"{row['mae']:.3f} / {row['rmse']:.3f}" for row in rows.to_dict("records")]
    order = [method for method in facts.scores["method"] if method in set(rows["method"])]
    wide = rows.assign(label=labels, cell=cells).pivot(index="method", columns="label", values="cell")
    return _named(wide.loc[order, list(dict.fromkeys(labels))])


def _named(wide: pd.DataFrame) -> pd.DataFrame:
    table = wide.set_axis([style(str(method)).name for method in wide.index], axis="index")
    return table.rename_axis("MAE / RMSE", axis="index").reset_index()


def written(sections: Sequence[Section]) -> list[Section]:
    """Without empty paragraphs."""
    return [Section(s.key, s.title, [text for text in s.caption if text], s.pictures, s.tables) for s in sections]


def percent(value: float) -> str:
    """A fraction in per cent."""
    return f"{100 * value:.0f} %"


def share(value: float) -> str:
    """A weight as a width in per cent."""
    return f"{100 * float(np.clip(value, 0, 1)):.2f}%"
