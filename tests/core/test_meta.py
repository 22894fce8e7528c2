"""The meta network: forms of bridges, what attention looks at, and where training starts."""

import pytest
import torch
from pydantic import ValidationError

from ptupcdr_core.models.forms import BridgeForm, apply_bridges
from ptupcdr_core.models.meta import MetaNetwork
from ptupcdr_core.settings import Settings

B, L, D, H = 6, 5, 4, 8
SIZES = [(4, 4), (5, 7), (7, 5)]
FORMS = [("full", 0), ("low_rank", 2), ("diagonal", 0)]


def history(lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Random item vectors (B, L, D), and the mask of histories of these lengths."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(L) < torch.tensor(lengths)[:, None]
    return torch.randn(len(lengths), L, D, generator=generator), mask


@pytest.mark.parametrize(
    ("name", "rank", "numbers"), [("full", 0, 128 * 128), ("low_rank", 4, 1024), ("diagonal", 0, 128)]
)
def test_a_form_says_how_many_numbers_it_takes(name, rank, numbers):
    assert BridgeForm(name, 128, 128, rank).outputs == numbers


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "rank"), FORMS)
def test_applying_a_form_is_multiplying_with_its_matrix(name, rank, size):
    form = BridgeForm(name, *size, rank)
    generator = torch.Generator().manual_seed(1)
    vectors, outputs = torch.randn(B, size[0], generator=generator), torch.randn(B, form.outputs, generator=generator)
    matrices = form.matrices(outputs)
    assert matrices.shape == (B, *size)
    torch.testing.assert_close(form.apply(vectors, outputs), apply_bridges(vectors, matrices))
    torch.testing.assert_close(form.squares(outputs), matrices.square().sum((1, 2)))


def test_each_form_is_what_its_name_says():
    numbers = torch.arange(1.0, 7.0)[None]
    torch.testing.assert_close(BridgeForm("full", 2, 3).matrices(numbers)[0], torch.tensor([[1.0, 2, 3], [4, 5, 6]]))
    # A is the column (1, 2), B the row (3, 4, 5).
    outer = torch.tensor([[3.0, 4, 5], [6, 8, 10]])
    torch.testing.assert_close(BridgeForm("low_rank", 2, 3, 1).matrices(numbers[:, :5])[0], outer)
    scaled = torch.tensor([[1.0, 0, 0], [0, 2, 0]])
    torch.testing.assert_close(BridgeForm("diagonal", 2, 3).matrices(numbers[:, :2])[0], scaled)


@pytest.mark.parametrize("rank", [0, 5])
def test_a_rank_that_no_such_matrix_has_is_refused(rank):
    with pytest.raises(ValueError, match=f"4 by 6 bridge cannot have rank {rank}"):
        BridgeForm("low_rank", 4, 6, rank)


def test_settings_refuse_a_rank_above_the_embedding_size():
    assert Settings(bridge_form="low_rank", embedding_size=4).bridge_rank == 4
    with pytest.raises(ValidationError, match="bridge_rank"):
        Settings(bridge_form="low_rank", embedding_size=3)
    assert Settings(embedding_size=3).bridge_rank == 4, "the rank of no other form"


@pytest.mark.parametrize(("name", "rank"), FORMS)
@pytest.mark.parametrize("at_zero", [False, True])
def test_a_seed_fixes_the_start_and_a_correction_starts_at_zero(name, rank, at_zero):
    networks = [MetaNetwork(D, H, 5, 7, form=name, rank=rank).start(3, at_zero=at_zero) for _ in range(2)]
    first, second = (network(*history([5] * B)) for network in networks)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert (first == 0).all() == at_zero


def test_at_any_size_a_low_rank_starts_as_large_as_its_left_side():
    """An orthonormal B keeps the length of u A; two random sides would let the product grow with the size."""
    for size in (8, 128):
        network = MetaNetwork(D, H, size, size, form="low_rank", rank=4).start(3)
        left, right = network.form.factors(network.outputs(*history([5] * B)))
        torch.testing.assert_close(right @ right.mT, torch.eye(4).expand(B, 4, 4), atol=1e-5, rtol=0)
        torch.testing.assert_close((left @ right).norm(dim=(1, 2)), left.norm(dim=(1, 2)))


@pytest.mark.parametrize("kind", ["items", "rated", "timed"])
def test_attention_sums_to_one_and_leaves_padding_out(kind):
    vectors, mask = history([5, 1, 3, 4, 2, 5])
    network = MetaNetwork(D, H, attention=kind).start(1)
    if network.attention_signal is not None:
        torch.nn.init.constant_(network.attention_signal, 2.0)
    weights = network.attention(vectors, mask, torch.full((B, L), 4.0))
    torch.testing.assert_close(weights.sum(1), torch.ones(B))
    assert (weights[~mask] == 0).all()
    assert (weights[mask] > 0).all()


def test_with_a_weight_of_zero_every_kind_of_attention_is_the_published_one():
    vectors, mask = history([5, 1, 3, 4, 2, 5])
    stars = torch.randn(B, L)
    plain, rated, timed = (MetaNetwork(D, H, attention=kind).start(1) for kind in ("items", "rated", "timed"))
    assert "attention_signal" not in plain.state_dict()
    for network in (rated, timed):
        torch.testing.assert_close(network.attention(vectors, mask, stars), plain.attention(vectors, mask))


def test_rated_attention_follows_the_stars_and_timed_attention_the_place_from_the_end():
    vectors, mask = torch.zeros(1, L, D), torch.tensor([[True, True, True, False, False]])
    rated, timed = (MetaNetwork(D, H, attention=kind).start(1) for kind in ("rated", "timed"))
    for network in (rated, timed):
        torch.nn.init.ones_(network.attention_signal)
    # Items alike: odds are e to the difference in stars, whatever the level, and 1 to the place from the end.
    low, high = (rated.attention(vectors, mask, torch.tensor([[4.0, 5, 4, 9, 9]]) + level) for level in (0, 3))
    torch.testing.assert_close(low, high)
    e = torch.e
    torch.testing.assert_close(low, torch.tensor([[1.0, e, 1, 0, 0]]) / (2 + e))
    odds = torch.tensor([[1 / 3, 1 / 2, 1, 0, 0]])
    torch.testing.assert_close(timed.attention(vectors, mask), odds / odds.sum())


def test_rated_attention_asks_for_the_stars():
    with pytest.raises(ValueError, match="stars"):
        MetaNetwork(D, H, attention="rated")(*history([5] * B))


@pytest.mark.parametrize(("name", "rank"), FORMS)
def test_bridging_at_once_is_writing_the_matrix_first(name, rank):
    vectors, mask = history([5, 1, 3, 4, 2, 5])
    network, users = MetaNetwork(D, H, 5, 7, form=name, rank=rank).start(1), torch.randn(B, 5)
    torch.testing.assert_close(
        network.bridge(users, vectors, mask), apply_bridges(users, network(vectors, mask)), atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize("kind", ["items", "rated", "timed"])
def test_leaving_an_item_out_is_bridging_a_shorter_history(kind):
    lengths = [5, 2, 3, 4, 2, 5]
    vectors, mask = history(lengths)
    stars, users = torch.rand(B, L) * 5, torch.randn(sum(lengths), D)
    network = MetaNetwork(D, H, attention=kind).start(1)
    if network.attention_signal is not None:
        torch.nn.init.constant_(network.attention_signal, 2.0)
    rows, positions = mask.nonzero(as_tuple=True)
    kept = torch.stack([torch.tensor([*range(p), *range(p + 1, L), p]) for p in positions.tolist()])  # left out: last
    shorter = torch.arange(L) < mask[rows].sum(1, keepdim=True) - 1
    wanted = network.bridge(users, vectors[rows[:, None], kept], shorter, stars[rows[:, None], kept])
    found = network.bridge_without(users, vectors, mask, stars, rows, positions)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)
