"""Pieces of work in several threads: their order, how many at once, and what fails."""

import itertools

import pytest
import torch

from ptupcdr_core.kernels.threads import worked_ahead


@pytest.mark.parametrize("threads", [None, 1, 3])
def test_results_come_in_the_order_of_the_pieces(threads):
    assert list(worked_ahead(lambda piece: piece * piece, range(20), threads)) == [piece * piece for piece in range(20)]


def test_no_more_pieces_are_begun_than_there_are_threads_and_one():
    taken = []
    pieces = (taken.append(piece) or piece for piece in itertools.count())  # endless, so that it must be lazy
    results = worked_ahead(lambda piece: piece, pieces, 2)
    for used in range(5):
        assert next(results) == used
        assert len(taken) == used + 3
    results.close()


def test_one_thread_begins_the_pieces_one_after_the_other():
    """What is drawn from a random generator depends on it."""
    begun = []
    list(worked_ahead(begun.append, range(50), 1))
    assert begun == list(range(50))


def test_a_failing_piece_is_told_at_its_place():
    results = worked_ahead(lambda piece: 1 // (3 - piece), range(9), 2)
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_every_piece_has_one_thread_and_the_callers_number_is_restored():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for pieces in (range(4), range(1)):
            assert set(worked_ahead(lambda _: torch.get_num_threads(), pieces, 2)) == {1}
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
