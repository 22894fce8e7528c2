"""The authors' own numbers are reproduced from their weights (parity/*.npz, taken on torch 2.13, CPU).

Their user ids start at 0 and item id 0 is padding; here both start at 1, so users move up by one row.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from ptupcdr_core.engines.compiled_adam import RowAdam, train_epoch
from ptupcdr_core.engines.compiled_bridges import MetaAdam
from ptupcdr_core.kernels.meta_network import Rows
from ptupcdr_core.models.base import BaseModel, BaseModelKind
from ptupcdr_core.models.meta import MetaNetwork, apply_bridges

FILES = sorted((Path(__file__).parent / "parity").glob("reference_*.npz"))
STEPS, BATCH, ROWS = 20, 16, 64
META_LAYERS = {
    "attention_hidden.weight": "meta_attention_hidden_weight",
    "attention_hidden.bias": "meta_attention_hidden_bias",
    "attention_out.weight": "meta_attention_out_weight",
    "decoder_hidden.weight": "meta_decoder_hidden_weight",
    "decoder_hidden.bias": "meta_decoder_hidden_bias",
    "decoder_out.weight": "meta_decoder_out_weight",
    "decoder_out.bias": "meta_decoder_out_bias",
}


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def reference(request):
    with np.load(request.param) as arrays:
        return {"kind": request.param.stem.removeprefix("reference_"), **arrays}


def base_model(reference: dict, side: str, when: str = "w0") -> BaseModel:
    kind: BaseModelKind = reference["kind"]
    users = reference[f"{when}_{side}_user_embedding"]
    items = reference[f"{when}_{side}_item_embedding"].copy()
    items[0] = 0
    weight, bias = (reference.get(f"{when}_{side}_linear_{name}") for name in ("weight", "bias"))
    if kind == "gmf":
        weight = weight[0]
    return BaseModel(kind, np.vstack([np.zeros_like(users[:1]), users]), items, weight, bias)


def meta_network(reference: dict, when: str = "w0") -> MetaNetwork:
    network = MetaNetwork(embedding_size=10, hidden_size=50)
    network.load_state_dict({ours: torch.tensor(reference[f"{when}_{theirs}"]) for ours, theirs in META_LAYERS.items()})
    return network


def rows_of_step(step: int) -> np.ndarray:
    return np.arange(BATCH * step, BATCH * (step + 1)) % ROWS


def target_items(reference: dict, target: BaseModel) -> torch.Tensor:
    return torch.tensor(target.item_vectors()[reference["in_target_item"]])


def bridged_scores(reference: dict, network: MetaNetwork, source: BaseModel, target: BaseModel) -> torch.Tensor:
    history = torch.tensor(source.item_embedding[reference["in_history"]])
    bridges = network(history, torch.tensor(reference["in_history"] > 0))
    users = torch.tensor(source.user_vectors()[reference["in_user"] + 1])
    return (apply_bridges(users, bridges) * target_items(reference, target)).sum(1)


def test_the_three_files_are_there():
    assert [path.stem for path in FILES] == ["reference_dnn", "reference_gmf", "reference_mf"]


@pytest.mark.parametrize("side", ["source", "target"])
def test_base_scores(reference, side):
    model = base_model(reference, {"source": "src", "target": "tgt"}[side])
    scores = model.score(reference["in_user"] + 1, reference[f"in_{side}_item"])
    np.testing.assert_allclose(scores, reference[f"out_{side}_score"], atol=1e-5)


def test_bridged_scores(reference):
    scores = bridged_scores(
        reference, meta_network(reference), base_model(reference, "src"), base_model(reference, "tgt")
    )
    np.testing.assert_allclose(scores.detach(), reference["out_ptupcdr_score"], atol=1e-5)


def test_common_bridge_scores(reference):
    source, target = base_model(reference, "src"), base_model(reference, "tgt")
    mapping = reference["w0_mapping_weight"]
    mapped = source.user_vectors() @ mapping.T
    np.testing.assert_allclose(mapped[reference["in_emcdr_user"] + 1], reference["out_emcdr_mapped"], atol=1e-5)
    wanted = target.user_vectors()[reference["in_emcdr_user"] + 1]
    np.testing.assert_allclose(wanted, reference["out_emcdr_wanted"], atol=1e-5)
    scores = (mapped[reference["in_user"] + 1] * target.item_vectors()[reference["in_target_item"]]).sum(1)
    np.testing.assert_allclose(scores, reference["out_emcdr_score"], atol=1e-5)


def train_base(reference: dict, side: str) -> tuple[RowAdam, list[float]]:
    state = RowAdam.start(base_model(reference, {"source": "src", "target": "tgt"}[side]))
    users, items = (reference["in_user"] + 1).astype(np.int32), reference[f"in_{side}_item"].astype(np.int32)
    losses = []
    for step in range(STEPS):
        rows = rows_of_step(step)
        losses.append(train_epoch(state, users[rows], items[rows], reference["in_rating"][rows], BATCH, 0.01))
    return state, losses


@pytest.mark.parametrize("side", ["source", "target"])
def test_base_training(reference, side):
    state, losses = train_base(reference, side)
    np.testing.assert_allclose(losses, reference[f"loss_{side}"], rtol=1e-4)
    wanted = base_model(reference, {"source": "src", "target": "tgt"}[side], "w1")
    for name, value in state.model().tensors().items():
        np.testing.assert_allclose(value, wanted.tensors()[name], atol=1e-4, err_msg=name)


def test_common_bridge_training(reference):
    source, target = base_model(reference, "src", "w1"), base_model(reference, "tgt", "w1")
    mapping = torch.nn.Linear(10, 10, bias=False)
    mapping.weight.data = torch.tensor(reference["w0_mapping_weight"])
    optimizer = torch.optim.Adam(mapping.parameters(), lr=0.01)
    batches = np.arange(0, 16) + 1, np.array([*range(16, 30), 0, 1]) + 1
    losses = []
    for step in range(STEPS):
        rows = batches[step % 2]
        optimizer.zero_grad()
        mapped = mapping(torch.tensor(source.user_vectors()[rows]))
        loss = ((mapped - torch.tensor(target.user_vectors()[rows])) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(losses, reference["loss_emcdr"], rtol=1e-4)
    np.testing.assert_allclose(mapping.weight.detach(), reference["w1_mapping_weight"], atol=1e-4)


def test_meta_network_training(reference):
    source, target = base_model(reference, "src", "w1"), base_model(reference, "tgt", "w1")
    network = meta_network(reference)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    for step in range(STEPS):
        rows = rows_of_step(step)
        batch = {
            name: value[rows] if name.startswith("in_") and len(value) == ROWS else value
            for name, value in reference.items()
        }
        optimizer.zero_grad()
        scores = bridged_scores(batch, network, source, target)
        loss = ((scores - torch.tensor(batch["in_rating"])) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(losses, reference["loss_ptupcdr"], rtol=1e-4)
    wanted = meta_network(reference, "w1").state_dict()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(
            value, wanted[name], atol=1e-4, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_compiled_meta_network_training(reference):
    source, target = base_model(reference, "src", "w1"), base_model(reference, "tgt", "w1")
    histories = np.zeros((len(source.user_embedding), 20), np.int32)
    histories[reference["in_user"] + 1] = reference["in_history"]
    kept = histories[reference["in_user"] + 1] == reference["in_history"]
    assert kept.all(), "each user has one history in the reference's batch"
    rows = Rows(
        (reference["in_user"] + 1).astype(np.int32),
        reference["in_target_item"].astype(np.int32),
        reference["in_rating"].astype(np.float32),
        histories,
        source.item_embedding,
        np.ascontiguousarray(source.user_vectors()),
        np.ascontiguousarray(target.item_vectors()),
        np.zeros((0, 0), np.float32),
    )
    state = MetaAdam.start(meta_network(reference), rows)
    losses = [state.epoch(rows_of_step(step), BATCH, 0.01) for step in range(STEPS)]
    np.testing.assert_allclose(losses, reference["loss_ptupcdr"], rtol=1e-4)
    wanted = meta_network(reference, "w1").state_dict()
    for name, value in state.network().state_dict().items():
        torch.testing.assert_close(
            value, wanted[name], atol=1e-4, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_attention_is_a_distribution_over_the_real_positions(reference):
    network = meta_network(reference)
    mask = torch.tensor(reference["in_history"] > 0)
    history = torch.tensor(base_model(reference, "src").item_embedding[reference["in_history"]])
    weights = network.attention(history, mask)
    torch.testing.assert_close(weights.sum(1), torch.ones(ROWS))
    assert not weights[~mask].any()
    garbage = history.masked_fill(~mask[:, :, None], 1e6)
    torch.testing.assert_close(network(garbage, mask), network(history, mask))
