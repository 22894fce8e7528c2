"""The stage between evaluation and recommendations: which models of a pair are deployed. See ``stages``."""

from pathlib import Path

import pyarrow as pa

from ptupcdr_core.data.pair_data import SPLIT, PairData, load_pair, user_ids
from ptupcdr_core.engines.choice import choose_engine
from ptupcdr_core.modes.checkpoints import base_weights, load_bridge_task, load_bridges, save_model
from ptupcdr_core.modes.ranking.bridging import refit_ranking_bridges
from ptupcdr_core.modes.ranking.checkpoints import SOURCE, load_ranking_bridges, load_ranking_task, save_bridges
from ptupcdr_core.serving.deployment import ASSET, EMBEDDINGS
from ptupcdr_core.settings import Settings
from ptupcdr_core.stages.stages import StageReport, bridged_rows, joined, pretrain_on
from ptupcdr_core.store import artifacts
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.bridging import refit_bridges
from ptupcdr_core.training.epochs import OnEpoch

DEPLOYED = """
select pair, $refitted as refitted, vocabulary,
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
    with warehouse.read(SPLIT, pair) as connection:
        deployed = connection.sql(DEPLOYED, params={"refitted": settings.refit}).to_arrow_table()
    with warehouse.write(ASSET, pair, fingerprint=fingerprint, settings=settings.model_dump()) as connection:
        for name, table in {ASSET: deployed, EMBEDDINGS: embeddings}.items():
            connection.register("arrow_table", table)
            connection.execute(f"create table {name} as select * from arrow_table")
            connection.unregister("arrow_table")
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
    for folder in ("source_model", SOURCE) if settings.ranks else ("source_model",):
        # The source has no held-out ratings, but its next training would leave these bridges without their side.
        source = artifacts.load(home.models / folder, data.pair, vocabulary=data.vocabulary)
        artifacts.save(
            new.models / folder, data.pair, source.tensors, vocabulary=data.vocabulary, manifest=source.manifest
        )
    files = pretrain_on(new, everybody, "target", settings, on_epoch, fingerprint).files
    task = load_bridge_task(new, everybody)
    bridges = refit_bridges(task, settings, load_bridges(home, data).chosen, on_epoch, choose_engine())
    entries: dict[str, object] = {"chosen": bridges.chosen, "between": base_weights(new, data.pair)}
    files += save_model(new, "meta_network", data, bridges.tensors(), settings, fingerprint, entries)
    tables = [bridged_rows(data, ids, "rating", task, bridges.personal)]
    if settings.ranks:
        ranking_task = load_ranking_task(new, everybody)
        ranking = refit_ranking_bridges(
            ranking_task,
            load_ranking_bridges(home, data).chosen,
            hidden_size=settings.meta_hidden_size,
            seed=settings.seed,
        )
        files += save_bridges(new, data, ranking, settings, fingerprint)
        tables.append(bridged_rows(data, ids, "ranking", ranking_task, ranking.personal))
    return joined(tables), files
