"""Every engine passes the contract tests; torch, on the CPU, gives whole stages the numbers of the compiled loops, and
never waits for a value in between.

No GPU is needed; if there is one, it must pass the same tests. That all tensors of a step are on one device, and that
no step reads a number back, is tested on torch's ``meta`` device, which has no numbers and whose tensors cannot be
mixed with those of the CPU.
"""

import shutil
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Lineage
from engine_contract import KINDS, EngineContract, factors, long_tail, meta_rows
from safetensors.numpy import load_file
from small_lineage import PAIR
from small_pair import SOURCE_ITEMS, USERS, small_pair
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ptupcdr_core.data.pair_data import load_pair
from ptupcdr_core.engines import torch_least_squares
from ptupcdr_core.engines.choice import choose_engine
from ptupcdr_core.engines.compiled import COMPILED, CompiledEngine
from ptupcdr_core.engines.torch_adam import BaseModelOnDevice, MinibatchAdam
from ptupcdr_core.engines.torch_bridges import MappingOnDevice, MetaNetworkOnDevice
from ptupcdr_core.engines.torch_engine import TorchEngine
from ptupcdr_core.engines.torch_least_squares import RowsOnDevice
from ptupcdr_core.errors import DeviceError
from ptupcdr_core.experiments import objectives
from ptupcdr_core.kernels.csr import compress
from ptupcdr_core.kernels.least_squares import Ridge
from ptupcdr_core.methods import methods_of
from ptupcdr_core.methods.experiment import Experiment
from ptupcdr_core.models.base import initialize
from ptupcdr_core.models.meta import MetaNetwork
from ptupcdr_core.modes.rating.checkpoints import load_bridge_task
from ptupcdr_core.settings import Settings
from ptupcdr_core.stages.bridges import train_bridges
from ptupcdr_core.stages.pretraining import pretrain
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.task import BridgeTask, bridge_task

CPU = torch.device("cpu")
ON_CPU, ON_GPU = TorchEngine(CPU), TorchEngine(torch.device("cuda"))
has_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
on_devices = pytest.mark.parametrize(
    "engine", [pytest.param(ON_CPU, id="cpu"), pytest.param(ON_GPU, id="gpu", marks=has_a_gpu)]
)


def silent(epoch: int, metrics: dict[str, float]) -> None:
    pass


# The same numbers


class TestCompiled(EngineContract):
    """That it equals itself says that it gives the same numbers every time."""

    engine = COMPILED


class TestTorch(EngineContract):
    """What a GPU would run, on the processor."""

    engine = ON_CPU

    @pytest.mark.parametrize("elements", [1, 1_000], ids=["row by row", "blocks"])
    def test_least_squares_in_blocks(self, elements, monkeypatch):
        together = factors(self.engine, long_tail(), Ridge(0.3))
        together.solve_users()
        monkeypatch.setattr(torch_least_squares, "ELEMENTS", elements)
        apart = factors(self.engine, long_tail(), Ridge(0.3))
        apart.solve_users()
        np.testing.assert_allclose(apart.vectors()[0], together.vectors()[0], rtol=1e-4, atol=1e-6)


@has_a_gpu
class TestOnTheGpu(EngineContract):
    """The real thing."""

    engine = ON_GPU


@on_devices
@pytest.mark.parametrize("recipe", ["published", "calibrated"])
def test_whole_stages(recipe, engine, request, tmp_path, monkeypatch):
    """The stages as a run with PTUPCDR_DEVICE=cuda calls them, with the processor in the GPU's place if need be.

    As published, the meta network is trained on the compiled loops' base models. On the device's own, which are equal
    to 1e-5, one of its units passes zero at another step, and after ten epochs the errors differ by 0.2 %.
    """
    made: Lineage = request.getfixturevalue("published_lineage" if recipe == "published" else "lineage")
    home = Home(tmp_path)
    for asset in ("raw_ratings", "domain_splits"):
        shutil.copytree(made.home.warehouse / asset, home.warehouse / asset)
    monkeypatch.setattr("ptupcdr_core.modes.rating.mode.choose_engine", lambda: engine)
    _stop_the_compiled_engine(monkeypatch)
    reports = {f"{side}_model": pretrain(home, PAIR, side, made.settings, silent) for side in ("source", "target")}
    vectors = [_source_vectors(where) for where in (home, made.home)]
    np.testing.assert_allclose(*vectors, atol=1e-5)
    if recipe == "published":
        shutil.copytree(made.home.models, home.models, dirs_exist_ok=True)
    reports["meta_network"] = train_bridges(home, PAIR, made.settings, silent)
    for asset, report in reports.items():
        compiled = made.reports[asset]
        assert _tensors(report) == _tensors(compiled)
        assert report.metrics == pytest.approx(compiled.metrics, rel=1e-3, abs=1e-3)
        assert {name: len(curve) for name, curve in report.curves.items()} == {
            name: len(curve) for name, curve in compiled.curves.items()
        }
    assert "validation_rmse_ptupcdr" in reports["meta_network"].metrics
    assert ("closed_form_users" in reports["meta_network"].metrics) == (recipe == "calibrated")


@on_devices
@pytest.mark.parametrize("method", methods_of("published", ["tgt", "cmf", "emcdr", "ptupcdr"]), ids=lambda m: m.name)
def test_a_benchmarks_methods(method, engine, monkeypatch):
    data, settings = small_pair(), Settings(recipe="published", epochs=2, embedding_size=4)
    compiled = [epoch.candidate.score(data.target_test) for epoch in method.fit(Experiment(data, settings))]
    _stop_the_compiled_engine(monkeypatch)
    ours = [epoch.candidate.score(data.target_test) for epoch in method.fit(Experiment(data, settings, engine=engine))]
    np.testing.assert_allclose(ours, compiled, rtol=1e-3, atol=1e-3)


@on_devices
@pytest.mark.parametrize("recipe", ["published", "calibrated"])
def test_a_searchs_trial(recipe, engine, monkeypatch):
    data, settings = small_pair(), Settings(recipe=recipe, epochs=2, embedding_size=4)
    compiled = objectives.measure_ratings(data, settings)
    monkeypatch.setattr(objectives, "choose_engine", lambda: engine)
    _stop_the_compiled_engine(monkeypatch)
    assert objectives.measure_ratings(data, settings) == pytest.approx(compiled, abs=1e-3)


def _source_vectors(home: Home) -> np.ndarray:
    return load_bridge_task(home, load_pair(Warehouse(home.warehouse), PAIR)).source_vectors


def _tensors(report: StageReport) -> list[dict[str, tuple[np.dtype, tuple[int, ...]]]]:
    """Names, types and shapes in each file of a checkpoint."""
    files = [load_file(path) for path in report.files if path.suffix == ".safetensors"]
    assert files
    return [{name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()} for tensors in files]


def _stop_the_compiled_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it fail if it is asked to train anything."""

    def never(*arguments: object, **keywords: object) -> None:
        raise AssertionError("the compiled engine was asked")

    for method in ("least_squares", "base_model", "meta_network", "mapping"):
        monkeypatch.setattr(CompiledEngine, method, never)


# Nothing waits


class Watch(TorchDispatchMode):
    """Counts what the host reads of tensors, and refuses operations between devices."""

    READS = ("_local_scalar_dense", "nonzero", "_unique2", "masked_select", "equal", "is_nonzero")

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device, self.operations, self.reads = device, 0, 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        name = function.overloadpacket.__name__
        tensors = [leaf for leaf in tree_leaves((arguments, keywords)) if isinstance(leaf, torch.Tensor)]
        elsewhere = {tensor.device for tensor in tensors} - {self.device}
        assert not elsewhere, f"{name} has operands on {elsewhere}"
        self.operations += 1
        self.reads += name in self.READS
        return function(*arguments, **(keywords or {}))


Training = Callable[[torch.device], MinibatchAdam]


def base_training(kind: str) -> Training:
    data = small_pair()
    model = initialize(kind, USERS, SOURCE_ITEMS, 4, np.random.default_rng(0))
    return lambda device: BaseModelOnDevice(model, data.source, 0.01, device).adam


def meta_training(attention: str) -> Training:
    rows = meta_rows(published_task())
    network = MetaNetwork(4, 8, 4, 4, attention=attention).start(0)
    return lambda device: MetaNetworkOnDevice(network, rows, 0.01, 0.1, device).adam


def mapping_training() -> Training:
    task = published_task()
    source, wanted = task.source_vectors[task.bridge_users], task.target_user_vectors[task.bridge_users]
    return lambda device: MappingOnDevice(task.prior, source, wanted, 0.01, device).adam


def published_task() -> BridgeTask:
    data, rng = small_pair(), np.random.default_rng(0)
    sides = (data.source_item_count, data.target_item_count)
    return bridge_task(data, *(initialize("mf", USERS, items, 4, rng) for items in sides))


TRAININGS = {
    **{kind: base_training(kind) for kind in KINDS},
    **{f"meta network, {kind}": meta_training(kind) for kind in ("items", "rated", "timed")},
    "mapping": mapping_training(),
}


@pytest.mark.parametrize("training", TRAININGS.values(), ids=TRAININGS.keys())
def test_an_epoch_reads_one_number_however_many_batches_it_has(training, monkeypatch):
    read: list[str] = []
    for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__"):
        monkeypatch.setattr(torch.Tensor, name, _noting(read, name))
    operations = []
    for batch_size in (4, 30):
        adam, watch = training(CPU), Watch(CPU)
        order = np.random.default_rng(0).permutation(len(adam.columns[0]))
        read.clear()
        with watch:
            adam.epoch(order, batch_size)
        assert read == ["item"]
        assert watch.reads == 1
        operations.append(watch.operations)
    assert operations[0] > 3 * operations[1], "the steps were not watched"


def _noting(read: list[str], name: str) -> Callable[..., Any]:
    original = getattr(torch.Tensor, name)

    def noting(tensor: torch.Tensor, *arguments: Any) -> Any:
        read.append(name)
        return original(tensor, *arguments)

    return noting


@pytest.mark.parametrize("training", TRAININGS.values(), ids=TRAININGS.keys())
def test_every_tensor_of_a_step_lies_on_the_device(training, monkeypatch):
    adam_module = sys.modules[torch.optim.Adam.__module__]
    monkeypatch.setattr(adam_module, "_device_dtype_check_for_fused", lambda *_: None)  # it knows no meta device
    meta = torch.device("meta")
    adam = training(meta)
    order = torch.arange(len(adam.columns[0]), device=meta)
    with Watch(meta):
        total = adam.steps(order, 8)
    assert total.device == meta


def test_least_squares_lie_on_the_device_and_wait_for_nothing(monkeypatch):
    monkeypatch.setattr(torch_least_squares, "ELEMENTS", 1_000)
    meta = torch.device("meta")
    rows = RowsOnDevice(compress(*long_tail(), 60), 4, meta)
    with Watch(meta) as watch:
        solved = rows.solve(torch.zeros(41, 4, device=meta), Ridge(1.0, True, 0.1))
    assert solved.shape == (61, 4)
    assert watch.operations > 20


# The choice


@pytest.mark.parametrize("environment", [{}, {"PTUPCDR_DEVICE": ""}, {"PTUPCDR_DEVICE": " cpu "}])
def test_the_compiled_loops_are_the_default(environment):
    assert choose_engine(environment) is COMPILED


def test_a_gpu_is_used_if_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_engine({"PTUPCDR_DEVICE": "cuda"}) == TorchEngine(torch.device("cuda"))


def test_a_missing_gpu_is_named_with_the_remedy(lineage, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("PTUPCDR_DEVICE", "cuda")
    stage = (
        lambda: pretrain(lineage.home, PAIR, "source", lineage.settings, silent),
        lambda: train_bridges(lineage.home, PAIR, lineage.settings, silent),
        choose_engine,
    )
    for ask in stage:
        with pytest.raises(DeviceError, match=r"PTUPCDR_DEVICE=cuda: torch .* sees no GPU; set PTUPCDR_DEVICE=cpu, or"):
            ask()


def test_another_device_is_refused():
    with pytest.raises(DeviceError, match="PTUPCDR_DEVICE=gpu: expected cpu or cuda"):
        choose_engine({"PTUPCDR_DEVICE": "gpu"})
