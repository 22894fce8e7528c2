"""Past searches; those of a pair are in one journal."""

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from ptupcdr_core.experiments.search import alone
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.replacing import replaced


def prune_studies(home: Home, pair: str, before: float, *, dry_run: bool = False) -> int:
    """Drop a pair's studies without a trial since a given time, and return how many; the journal is written anew.

    Args:
        home: has the journal.
        pair: the pair's key.
        before: in seconds of Unix time.
        dry_run: only count.

    Raises:
        TuningError: a search of the pair is running.
        StorageError: the journal cannot be written; the old one stays.
    """
    journal = home.tuning / f"{pair}.journal"
    with alone(home.tuning, pair):
        storage = JournalStorage(JournalFileBackend(str(journal)))
        names = optuna.study.get_all_study_names(storage)
        kept = [name for name in names if _last_trial(storage, name) >= before]
        if len(kept) < len(names) and not dry_run:
            with replaced(journal) as temporary:
                temporary.touch()
                anew = JournalStorage(JournalFileBackend(str(temporary)))
                for name in kept:
                    optuna.copy_study(from_study_name=name, from_storage=storage, to_storage=anew)
    return len(names) - len(kept)


def _last_trial(storage: JournalStorage, name: str) -> float:
    trials = optuna.load_study(study_name=name, storage=storage).get_trials()
    return max((trial.datetime_start.timestamp() for trial in trials if trial.datetime_start), default=0.0)
