"""The stage between evaluation and recommendations: which models of a pair are deployed. See ``stages``."""

from pathlib import Path

import pyarrow as pa

from ptupcdr_core.data.pair_data import SPLIT, PairData, load_outline, load_pair, user_ids
from ptupcdr_core.engines.device import training_device
from ptupcdr_core.modes.ranking.bridging import RankingTask, refit_ranking_bridges
from ptupcdr_core.modes.ranking.checkpoints import FOLDERS as LIST_SOURCES
from ptupcdr_core.modes.ranking.checkpoints import load_ranking_bridges
from ptupcdr_core.modes.ranking.checkpoints import load_sides as load_list_sides
from ptupcdr_core.modes.ranking.checkpoints import save_bridges as save_list_bridges
from ptupcdr_core.modes.rating.checkpoints import FOLDERS as SOURCES
from ptupcdr_core.modes.rating.checkpoints import load_bridges, load_sides, save_bridges
from ptupcdr_core.serving.deployment import ASSET, EMBEDDINGS
from ptupcdr_core.settings import Settings
from ptupcdr_core.stages.embeddings import bridged_rows
from ptupcdr_core.stages.pretraining import pretrain_on
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store import artifacts
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.tables import joined, write_tables
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.bridging import refit_bridges
from ptupcdr_core.training.epochs import Curves, OnEpoch
from ptupcdr_core.training.task import bridge_task

DEPLOYED = """
select pair, $refitted as refitted, $split as split,
    (select count(*) from split_users
     where cohort = 'bridge' or ($refitted and cohort in ('validation', 'test'))) as bridge_users,
    (select count(*) from split_target_ratings where part = 'train' or $refitted) as target_ratings
from split_summary"""
"""The row of ``deployed_model``: whether the models were fitted again, for which split, and on how much."""


def deploy(home: Home, pair: str, settings: Settings, on_epoch: OnEpoch, fingerprint: str = "") -> StageReport:
    """Deploy the evaluated models as they are, or, with ``refit``, fit them again first (asset ``deployed_model``).

    Fitted again are the target's models and the bridges, on the target ratings of all overlapping users, test and
    validation users too. What was chosen on held-out users stays as it is: nobody is held out any more.

    Raises:
        DeviceError: the environment asks for a GPU that is not there.
    """
    warehouse = Warehouse.from_environment(home.warehouse)
    files: list[Path] = []
    if settings.refit:
        embeddings, files = _refit(home, load_pair(warehouse, pair), settings, on_epoch, fingerprint)
    else:
        with warehouse.read("bridged_embeddings", pair) as connection:
            embeddings = connection.sql("select * from bridged_embeddings limit 0").to_arrow_table()
    split = load_outline(warehouse, pair).split
    with warehouse.read(SPLIT, pair) as connection:
        deployed = connection.sql(DEPLOYED, params={"refitted": settings.refit, "split": split}).to_arrow_table()
    write_tables(warehouse, ASSET, pair, {ASSET: deployed, EMBEDDINGS: embeddings}, settings, fingerprint)
    numbers = deployed.select(["refitted", "bridge_users", "target_ratings"]).to_pylist()[0]
    return StageReport({name: float(number) for name, number in numbers.items()}, files=files)


def _refit(
    home: Home, data: PairData, settings: Settings, on_epoch: OnEpoch, fingerprint: str
) -> tuple[pa.Table, list[Path]]:
    """Fit a pair's models again, and save them where nothing that measures looks.

    Args:
        home: has the evaluated models.
        data: the pair's split.
        settings: of the evaluated models.
        on_epoch: told every epoch's metrics.
        fingerprint: kept in the checkpoints.

    Returns:
        The new embeddings of all cold-start users, and the checkpoints' files.
    """
    new, everybody = home.with_refitted_models(), data.with_nobody_held_out()
    ids = user_ids(Warehouse.from_environment(home.warehouse), data.pair)
    folders = {"rating": SOURCES["source"], "ranking": LIST_SOURCES["source"]}
    for folder in [folders[mode] for mode in settings.modes]:
        # The source has no held-out ratings, but its next training would leave these bridges without their side.
        source = artifacts.load(home.models / folder, data.pair, split=data.split)
        artifacts.save(new.models / folder, data.pair, source.tensors, split=data.split, manifest=source.manifest)
    files, curves = pretrain_on(new, everybody, "target", settings, on_epoch, fingerprint).files, Curves(on_epoch)
    sides = load_sides(new, everybody)
    task = bridge_task(everybody, sides.source, sides.target)
    bridges = refit_bridges(task, settings, load_bridges(home, data).chosen, curves, training_device())
    files += save_bridges(new, data, bridges, sides.checksums, settings, fingerprint, curves)
    tables = [bridged_rows(data, ids, "rating", task, bridges.personal)]
    if "ranking" in settings.modes:
        list_sides = load_list_sides(new, everybody)
        ranking_task = RankingTask.of(everybody, list_sides.source, list_sides.target)
        chosen = load_ranking_bridges(home, data).chosen
        ranking = refit_ranking_bridges(ranking_task, chosen, hidden_size=settings.meta_hidden_size, seed=settings.seed)
        files += save_list_bridges(new, data, ranking, list_sides.checksums, settings, fingerprint)
        tables.append(bridged_rows(data, ids, "ranking", ranking_task, ranking.personal))
    return joined(tables), files
