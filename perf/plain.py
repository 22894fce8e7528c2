"""The same experiment written plainly, in the style of the reference implementation; for comparison only.

JSON objects are read one by one in Python; users and histories are found by sets and pandas filters; each base model
has rows for the users and items of both domains; a DataLoader feeds dense Adam; every training computes gradients of
all parameters, and errors on the test users after every epoch. MF only, the reference's methods TGT, CMF, EMCDR and
PTUPCDR, and no validation users.

Shapes: B batch, L history length, D embedding size, H hidden units.
"""

import gzip
import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ptupcdr_core.settings import Settings


@dataclass
class Experiment:
    """A pair's ratings with numbered users and items, split into training and test."""

    source: pd.DataFrame
    train: pd.DataFrame
    test: pd.DataFrame
    bridge_users: list[int]
    histories: dict[int, list[int]]
    users: int
    items: int


def read(path: Path) -> pd.DataFrame:
    """Read one file of reviews."""
    rows = []
    with gzip.open(path, "rt") as lines:
        for line in lines:
            review = json.loads(line)
            rows.append((review["reviewerID"], review["asin"], review["overall"], review["unixReviewTime"]))
    return pd.DataFrame(rows, columns=["user", "item", "stars", "time"])


def prepare(source: pd.DataFrame, target: pd.DataFrame, settings: Settings) -> Experiment:
    """Number users and items, hold out test users, and collect every overlapping user's history."""
    shared = set(source.user) & set(target.user)
    users = {name: index for index, name in enumerate(set(source.user) | set(target.user), 1)}
    items = {name: index for index, name in enumerate(set(source.item) | set(target.item), 1)}
    source, target = (
        ratings.assign(user=ratings.user.map(users), item=ratings.item.map(items)) for ratings in (source, target)
    )
    both = sorted(users[name] for name in shared)
    held_out = set(random.Random(settings.seed).sample(both, round(settings.beta * len(both))))
    liked = source[source.stars > 3]
    histories = {
        user: liked[liked.user == user].sort_values("time").item.tolist()[-settings.history_length :] for user in both
    }
    return Experiment(
        source=source,
        train=target[~target.user.isin(held_out)],
        test=target[target.user.isin(held_out)],
        bridge_users=[user for user in both if user not in held_out],
        histories=histories,
        users=len(users),
        items=len(items),
    )


class Model(nn.Module):
    """Base models of each domain and of both together, EMCDR's mapping, and the meta network."""

    def __init__(self, experiment: Experiment, settings: Settings) -> None:
        """Draw all weights."""
        super().__init__()
        size, hidden = settings.embedding_size, settings.meta_hidden_size
        self.source_user = nn.Embedding(experiment.users + 1, size)
        self.source_item = nn.Embedding(experiment.items + 1, size)
        self.target_user = nn.Embedding(experiment.users + 1, size)
        self.target_item = nn.Embedding(experiment.items + 1, size)
        self.shared_user = nn.Embedding(experiment.users + 1, size)
        self.shared_item = nn.Embedding(experiment.items + 1, size)
        self.mapping = nn.Linear(size, size, bias=False)
        self.attention = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, 1, bias=False))
        self.decoder = nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, size * size))

    def on_source(self, users: Tensor, items: Tensor) -> Tensor:
        """(B,) scores of the source model."""
        return _products(self.source_user(users), self.source_item(items))

    def on_target(self, users: Tensor, items: Tensor) -> Tensor:
        """(B,) scores of the target model."""
        return _products(self.target_user(users), self.target_item(items))

    def on_both(self, users: Tensor, items: Tensor) -> Tensor:
        """(B,) scores of CMF, the model of both domains."""
        return _products(self.shared_user(users), self.shared_item(items))

    def mapped(self, users: Tensor, items: Tensor) -> Tensor:
        """(B,) scores of EMCDR."""
        return _products(self.mapping(self.source_user(users)), self.target_item(items))

    def bridged(self, users: Tensor, items: Tensor, histories: Tensor) -> Tensor:
        """(B,) scores of PTUPCDR; histories (B, L), 0 where padded."""
        vectors = self.source_item(histories)
        weights = self.attention(vectors).squeeze(2).masked_fill(histories == 0, -1e8).softmax(1)
        bridges = self.decoder(torch.einsum("bl,bld->bd", weights, vectors))
        user_vectors = self.source_user(users)
        embeddings = torch.bmm(user_vectors[:, None], bridges.view(len(users), user_vectors.shape[1], -1))[:, 0]
        return _products(embeddings, self.target_item(items))


def _squares(found: Tensor, wanted: Tensor) -> Tensor:
    return (found - wanted).square().mean()


def _products(users: Tensor, items: Tensor) -> Tensor:
    return (users * items).sum(1)


class Trainer:
    """Trains the models one by one: each call is one epoch of one of them."""

    def __init__(self, experiment: Experiment, settings: Settings) -> None:
        """Set up model, optimizers and loaders."""
        torch.manual_seed(settings.seed)
        self.experiment, self.settings = experiment, settings
        self.model = Model(experiment, settings)
        table = np.zeros((experiment.users + 1, settings.history_length), np.int64)
        for user, items in experiment.histories.items():
            table[user, : len(items)] = items
        self.histories = torch.from_numpy(table)
        m = self.model
        self.optimizers = {
            "source": self._adam(m.source_user, m.source_item),
            "target": self._adam(m.target_user, m.target_item),
            "cmf": self._adam(m.shared_user, m.shared_item),
            "emcdr": self._adam(m.mapping),
            "ptupcdr": self._adam(m.attention, m.decoder),
        }
        of_bridge_users = experiment.train[experiment.train.user.isin(set(experiment.bridge_users))]
        self.loaders = {
            "source": self._loader(_rows(experiment.source), settings.source_batch_size),
            "target": self._loader(_rows(experiment.train), settings.target_batch_size),
            "cmf": self._loader(_rows(pd.concat([experiment.source, experiment.train])), settings.source_batch_size),
            "emcdr": self._loader([torch.tensor(experiment.bridge_users)], settings.mapping_batch_size),
            "ptupcdr": self._loader(_rows(of_bridge_users), settings.meta_batch_size),
        }

    def _adam(self, *modules: nn.Module) -> torch.optim.Adam:
        weights = [weight for module in modules for weight in module.parameters()]
        return torch.optim.Adam(weights, lr=self.settings.learning_rate)

    def _loader(self, tensors: Iterable[Tensor], batch_size: int) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(TensorDataset(*tensors), batch_size, shuffle=True)

    def epoch(self, model: str) -> None:
        """Train ``source``, ``target``, ``cmf``, ``emcdr`` or ``ptupcdr`` for one epoch, and measure its errors."""
        for batch in self.loaders[model]:
            loss = self._loss(model, *batch)
            self.model.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizers[model].step()
        if model != "source":
            self.errors("tgt" if model == "target" else model)

    def _loss(self, model: str, users: Tensor, *rest: Tensor) -> Tensor:
        if model == "emcdr":
            return _squares(self.model.mapping(self.model.source_user(users)), self.model.target_user(users))
        items, stars = rest
        return _squares(self._score(model)(users, items), stars)

    def _score(self, model: str) -> Callable[[Tensor, Tensor], Tensor]:
        m = self.model
        return {
            "source": m.on_source,
            "target": m.on_target,
            "tgt": m.on_target,
            "cmf": m.on_both,
            "emcdr": m.mapped,
            "ptupcdr": lambda users, items: m.bridged(users, items, self.histories[users]),
        }[model]

    def errors(self, method: str) -> tuple[float, float]:
        """MAE and RMSE of a method on the test users' ratings."""
        with torch.no_grad():
            loader = DataLoader(TensorDataset(*_rows(self.experiment.test)), self.settings.meta_batch_size)
            errors = torch.cat([self._score(method)(users, items) - stars for users, items, stars in loader])
        return float(errors.abs().mean()), float(errors.square().mean().sqrt())

    def recommend(self, block: int = 1_000) -> None:
        """Find the best items of every cold-start and test user, by EMCDR's vectors."""
        known = set(self.experiment.train.user)
        users = torch.tensor([user for user in self.experiment.source.user.unique() if user not in known])
        with torch.no_grad():
            vectors = self.model.mapping(self.model.source_user(users))
            for start in range(0, len(users), block):
                torch.topk(vectors[start : start + block] @ self.model.target_item.weight.T, self.settings.top_k)


def _rows(ratings: pd.DataFrame) -> list[Tensor]:
    return [
        torch.from_numpy(ratings.user.to_numpy(np.int64, copy=True)),
        torch.from_numpy(ratings.item.to_numpy(np.int64, copy=True)),
        torch.from_numpy(ratings.stars.to_numpy(np.float32, copy=True)),
    ]
