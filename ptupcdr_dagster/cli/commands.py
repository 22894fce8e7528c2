"""The command line. Exit codes: 0 success, 1 a failed run or another error, 2 bad usage."""

import functools
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from ptupcdr_core.catalog import Catalog, Pair
from ptupcdr_core.errors import CatalogError, PtupcdrError
from ptupcdr_core.settings import Mode, Search, Settings
from ptupcdr_core.store.catalog_file import load_catalog
from ptupcdr_core.store.home import Home, catalog_path_from_environment
from ptupcdr_dagster.cli.options import SpreadCommand, settings_options
from ptupcdr_dagster.cli.printing import print_frame, say

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer(
    name="ptupcdr",
    help="Cross-domain cold-start recommendation: from ratings in one domain to recommendations in another.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


PAIR_HELP = "A pair of the catalog, source first, such as books__movies."
SEVERAL = "Several values: separated by blanks or commas."
JSON_HELP = "Print JSON instead of a table."


@app.command()
@functools.partial(settings_options, from_file=True)
def backfill(
    settings: Settings,
    pairs: Annotated[list[str] | None, typer.Argument(metavar="[PAIR]...", help=f"{PAIR_HELP} All when none.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Make everything again, up to date or not.")] = False,
    workers: Annotated[
        int,
        typer.Option(min=1, help="Pairs at a time; each takes memory of its own and keeps at least one core busy."),
    ] = 1,
) -> None:
    """Make everything of the given pairs that is not up to date: raw ratings of their domains, then the pairs.

    Needs no daemon; the runs show in the Dagster UI (`ptupcdr up`). A pair that fails does not stop the others.
    """
    with _clear_errors():
        chosen = _pairs(load_catalog(catalog_path_from_environment()), pairs or [])
        from ptupcdr_dagster.cli.terminal import run_backfill

        home = Home.from_environment()
        report = run_backfill(home, chosen, settings, force=force, workers=workers)
        done = [pair for pair in chosen if report.stands(pair.key)]
        if done:
            from ptupcdr_dagster.cli.evaluations import print_evaluations

            print_evaluations(_console(), home, done)
        if report.failures:
            raise typer.Exit(1)


@app.command()
@functools.partial(settings_options, parts=("recommendations",))
def score(
    settings: Settings,
    pairs: Annotated[list[str] | None, typer.Argument(metavar="[PAIR]...", help=f"{PAIR_HELP} All when none.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Make everything again, up to date or not.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Pairs at a time; they share the cores.")] = 1,
) -> None:
    """Make lists for all users who are cold-start today, from the deployed model: ingest what changed, train nothing.

    Meant for every night, as `backfill` is for every week; a pair that was never trained fails.
    """
    with _clear_errors():
        chosen = _pairs(load_catalog(catalog_path_from_environment()), pairs or [])
        from ptupcdr_dagster.cli.scoring import print_scored
        from ptupcdr_dagster.cli.terminal import run_score

        home = Home.from_environment()
        report = run_score(home, chosen, settings, force=force, workers=workers)
        print_scored(_console(), home, [pair.key for pair in chosen if report.stands(pair.key)])
        if report.failures:
            raise typer.Exit(1)


@app.command(cls=SpreadCommand)
@functools.partial(settings_options, parts=("split", "rating", "ranking"), left_out=Settings.names_varied())
def benchmark(
    settings: Settings,
    pairs: Annotated[list[str] | None, typer.Argument(metavar="[PAIR]...", help=f"{PAIR_HELP} All when none.")] = None,
    betas: Annotated[
        list[str],
        typer.Option(help=f"Fractions of overlapping users held out. {SEVERAL}"),
    ] = ["0.2", "0.5", "0.8"],  # noqa: B006
    seeds: Annotated[list[str], typer.Option(help=SEVERAL)] = ["900", "1000", "10", "2020", "500"],  # noqa: B006
    base_models: Annotated[list[str], typer.Option(help=f"mf, gmf, dnn. {SEVERAL}")] = ["mf", "gmf", "dnn"],  # noqa: B006
    methods: Annotated[list[str], typer.Option(help=f"Names of methods, or all. {SEVERAL}")] = ["all"],  # noqa: B006
    recipes: Annotated[
        list[str],
        typer.Option(help=f"calibrated, honest, published, published_test_best. {SEVERAL}"),
    ] = ["calibrated", "honest", "published"],  # noqa: B006
    modes: Annotated[
        list[str], typer.Option(help=f"rating, ranking (all methods that make lists, trained together). {SEVERAL}")
    ] = ["rating", "ranking"],  # noqa: B006
    workers: Annotated[int, typer.Option(min=1, help="Trainings at a time; each keeps a core busy.")] = 2,
    export: Annotated[
        Literal["csv", "latex", "parquet"] | None,
        typer.Option(help="Also write a file for each pair: cells as csv or parquet, means over seeds as latex."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Measure every method on the same test users, over β, seeds and base models, with tests of significance.

    A benchmark that was stopped resumes where it was. The runs show in the Dagster UI and in MLflow.
    """
    with _clear_errors():
        chosen = _pairs(load_catalog(catalog_path_from_environment()), pairs or [])
        from ptupcdr_dagster.cli.benchmark import chosen_grid, print_benchmark, read_benchmarks
        from ptupcdr_dagster.cli.terminal import run_benchmark

        varied = {"betas": betas, "seeds": seeds, "base_models": base_models, "methods": methods, "recipes": recipes}
        varied["modes"] = modes
        grid = chosen_grid(settings, varied)
        home = Home.from_environment()
        report = run_benchmark(home, chosen, settings, grid, workers=workers)
        done = [pair for pair in chosen if report.stands(pair.key)]
        if as_json:
            _print_json(read_benchmarks(home, done))
        else:
            for pair in done:
                print_benchmark(_console(), home, pair)
        if export:
            from ptupcdr_core.experiments.export import export as write

            for pair in done:
                say(Console(stderr=True), f"{pair.key}: written to {write(home, pair.key, export)}")
        if report.failures:
            raise typer.Exit(1)


@app.command()
@functools.partial(settings_options, parts=("split", "rating", "ranking"), from_file=True)
def tune(
    settings: Settings,
    pair: Annotated[str, typer.Argument(metavar="PAIR", help=PAIR_HELP)],
    objective: Annotated[
        Mode, typer.Option(help="rating: the RMSE of predicted ratings; ranking: the NDCG@10 of ranked lists.")
    ] = "rating",
    trials: Annotated[int, typer.Option(min=1, help="How many, including those of an earlier search.")] = 30,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds after which no trial is started.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Search for better settings of a pair on its validation users, starting from the given ones.

    A stopped search resumes where it was. The best settings are written to a file for `backfill --settings-file`.
    """
    with _clear_errors():
        [chosen] = _pairs(load_catalog(catalog_path_from_environment()), [pair])
        from ptupcdr_dagster.cli.terminal import run_search
        from ptupcdr_dagster.cli.tuning import comparison, print_comparison, settings_file

        home = Home.from_environment()
        search = run_search(home, chosen, settings, objective=objective, trials=trials, timeout=timeout)
        if search is None:
            raise typer.Exit(1)
        if as_json:
            _print_json(comparison(search))
            return
        title = f"{chosen.key}: {search.objective.what} on validation users, best of {len(search.trials)} trials"
        print_comparison(_console(), comparison(search), title)
        print(f"ptupcdr backfill {chosen.key} --settings-file {settings_file(home, chosen.key, objective)}")


@app.command()
def evaluate(
    pair: Annotated[str, typer.Argument(metavar="PAIR", help=PAIR_HELP)],
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Show how well every method and simple baseline does on a pair's held-out users, and what the gate decided."""
    with _clear_errors():
        [chosen] = _pairs(load_catalog(catalog_path_from_environment()), [pair])
        from ptupcdr_core.experiments.readout import read_evaluation, read_serving
        from ptupcdr_dagster.cli.evaluations import print_evaluations

        home = Home.from_environment()
        if as_json:
            serves = read_serving(home, chosen.key)[["mode", "serves"]].assign(method="ptupcdr")
            _print_json(read_evaluation(home, chosen.key).merge(serves, on=["mode", "method"], how="left"))
        else:
            print_evaluations(_console(), home, [chosen])


@app.command()
def recommend(
    pair: Annotated[str, typer.Argument(metavar="PAIR", help=PAIR_HELP)],
    user: Annotated[
        str | None, typer.Argument(metavar="USER", help="Id of a user who is new in the pair's target domain.")
    ] = None,
    history: Annotated[
        Path | None,
        typer.Option(
            help="Instead of USER: a file (.csv, .parquet, .jsonl) of source ratings of people who were not in "
            "training; columns user_id, item_id, rating and, to order them, timestamp."
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many items.")] = 10,
    exclude: Annotated[
        Path | None, typer.Option(help="A file with the column item_id: target items to leave out this time.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Recommend items of a pair's target domain to one cold-start user, or to everybody in a file of new people.

    stars is the predicted rating, likely the probability that it lies above the middle of the scale. The reasons are
    the source items that raise a score most, and by how much.
    """
    if (user is None) == (history is None):
        raise typer.BadParameter("expected either USER or --history FILE")
    with _clear_errors():
        catalog = load_catalog(catalog_path_from_environment())
        [chosen] = _pairs(catalog, [pair])
        from ptupcdr_dagster.cli.recommending import Shown, for_people, recommended_to_new, recommended_to_user

        home, shown = Home.from_environment(), Shown.of(catalog, chosen, exclude)
        if history is None:
            frame, title = recommended_to_user(home, chosen, str(user), k, shown), f"{chosen.key}: for {user}"
        else:
            frame, note = recommended_to_new(home, chosen, history, k, shown)
            say(Console(stderr=True), note)
            title = f"{chosen.key}: for the people of {history}"
        if as_json:
            _print_json(frame)
        else:
            print_frame(_console(), for_people(frame), title)


@app.command()
def forget(
    users: Annotated[list[str], typer.Argument(metavar="USER...", help="Ids of the people, in any of the domains.")],
) -> None:
    """Forget people: remove them from all tables, bundles, pages and MLflow artifacts, and drop them at later ingests.

    The source files of the ratings stay as they are. The next backfill trains again without these people.
    """
    with _clear_errors():
        catalog = load_catalog(catalog_path_from_environment())
        from ptupcdr_core.serving.forgetting import forget as forget_people
        from ptupcdr_core.serving.forgetting import named_in
        from ptupcdr_core.sources.people import People
        from ptupcdr_dagster.tracking.forgetting import forget_elsewhere

        home = Home.from_environment()
        tables = [people for domain in catalog.domains if (people := People.read(domain))][:1]
        ids = sorted({id for user in users for id in [user, *(id for table in tables for id in table.all_ids(user))]})
        found = forget_people(home, ids) | forget_elsewhere(home, ids)
        print(f"{len(ids)} id{'s' * (len(ids) > 1)} of {len(users)} people; dropped at every later ingest")
        for place, amount in found.items():
            print(f"{amount:>8}  {place}")
        for path in named_in(home.root, ids):
            print(f"   still  {path.relative_to(home.root)}: remove it yourself if the id there is theirs")
        print("Models were trained with them: `ptupcdr backfill` makes again what has changed, without them.")


@app.command()
def doctor() -> None:
    """Check the environment and say what is missing; exit code 1 if something is wrong."""
    with _clear_errors():
        from ptupcdr_dagster.cli.doctor import examine

        findings = list(examine())
        table = Table("", "what", "found", box=None)
        for finding in findings:
            table.add_row("[green]ok[/]" if finding.ok else "[red]wrong[/]", finding.what, finding.found)
        _console().print(table)
        if not all(finding.ok for finding in findings):
            raise typer.Exit(1)


@app.command()
def prune(
    older_than: Annotated[float, typer.Option(min=0, help="Days; what is newer stays.")] = 30,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be thrown away.")] = False,
) -> None:
    """Throw away old runs of Dagster and MLflow, model versions, searches, downloads and logs that nothing uses.

    Tables, models and reports stay, as do the runs that made them, model versions with an alias, and the three newest
    versions of each model. A server that MLFLOW_TRACKING_URI names is not touched.
    """
    with _clear_errors():
        catalog = load_catalog(catalog_path_from_environment())
        from ptupcdr_dagster.cli.terminal import run_prune

        run_prune(Home.from_environment(), catalog, older_than, dry_run=dry_run)


mlflow_app = typer.Typer(
    no_args_is_help=True, help="Runs recorded in MLflow: `ptupcdr mlflow sync` sends those that a server did not take."
)
app.add_typer(mlflow_app, name="mlflow")


@mlflow_app.command()
def sync() -> None:
    """Send what was kept in the home while the MLflow server did not answer; the next backfill does so too."""
    with _clear_errors():
        from ptupcdr_dagster.tracking.sending import send_kept

        sent = send_kept(Home.from_environment())
        print(f"{sent} runs sent" if sent else "nothing to send")


@app.command()
def up(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow UI.")] = 5000,
) -> None:
    """Start the Dagster UI, its daemon and the MLflow UI; Ctrl-C stops them all."""
    with _clear_errors():
        load_catalog(catalog_path_from_environment())
        from ptupcdr_dagster.cli.services import serve
        from ptupcdr_dagster.cli.terminal import everything_else_to, log_file

        home = Home.from_environment()
        log = log_file(home, "up")
        with everything_else_to(log) as console:
            raise typer.Exit(serve(home, host, port, mlflow_port, console, log))


@app.command()
def serve(
    pairs: Annotated[list[str], typer.Argument(metavar="PAIR...", help=PAIR_HELP)],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the service.")] = 8000,
    search: Annotated[
        Search, typer.Option(help="exact, or approximate, which pays off from about a million target items.")
    ] = "exact",
    most_megabytes: Annotated[float, typer.Option(min=0.001, help="Longer requests are refused.")] = 8.0,
) -> None:
    """Serve recommendations of deployed pairs over HTTP; a newly deployed bundle is used without a restart.

    `/docs` describes the requests; `/recommend`, `/health` and `/metrics` are for programs. Ctrl-C stops it.
    """
    with _clear_errors():
        chosen = _pairs(load_catalog(catalog_path_from_environment()), pairs)
        from ptupcdr_dagster.service.server import run

        run(Home.from_environment(), [pair.key for pair in chosen], host, port, search, round(most_megabytes * 1e6))


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Turn an error that the user can act on into its message."""
    try:
        yield
    except PtupcdrError as error:
        say(Console(stderr=True), f"ptupcdr: {error}")
        raise typer.Exit(1) from error


def _pairs(catalog: Catalog, keys: list[str]) -> list[Pair]:
    """The named pairs, each once; all of the catalog if none is named. An unknown one is bad usage."""
    try:
        return [catalog.pair(key) for key in dict.fromkeys(keys)] or list(catalog.pairs)
    except CatalogError as error:
        say(Console(stderr=True), f"ptupcdr: {error}")
        raise typer.Exit(2) from error


def _print_json(frame: "pd.DataFrame") -> None:
    print(json.dumps(json.loads(frame.to_json(orient="records")), indent=2, ensure_ascii=False))


def _console() -> Console:
    # Redirected output keeps its columns whole.
    return Console(width=None if sys.stdout.isatty() else 160)
