"""One mode of a bundle: its models by the ids of their rows, and how both are written as arrays."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ptupcdr_core.data.pair_data import Reading, Scale
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.models.bridges import PersonalBridge
from ptupcdr_core.modes.part import KnownUsers, Part
from ptupcdr_core.modes.ranking.parts import Parts
from ptupcdr_core.modes.ranking.space import RankingSpace
from ptupcdr_core.modes.stars import StarDistribution
from ptupcdr_core.serving.data_summary import DataSummary
from ptupcdr_core.serving.group_cap import GroupCap
from ptupcdr_core.sources.items import Items, may_be_recommended
from ptupcdr_core.store.artifacts import Tensors
from ptupcdr_core.training.bridging import network_from_tensors, network_tensors
from ptupcdr_core.training.folding import CalibratedSpace, ReferenceSpace, SourceSpace

SPACES: dict[str, type[SourceSpace]] = {space.kind: space for space in (CalibratedSpace, ReferenceSpace, RankingSpace)}


@dataclass(frozen=True)
class Origin:
    """What a part was made from.

    Args:
        settings: of its training, by name.
        fingerprint: of the stage that trained it.
        training: digest of the models that were evaluated; a mode that was fitted again keeps that of the evaluated
            one.
        refitted: whether it was fitted again on everybody, so that nobody is left to measure it on.
        bridge_users: how many people its bridge was trained on.
        target_ratings: how many ratings its target model was trained on.
        data: the ratings that it was trained on, in a few numbers; None in a bundle of an earlier version.
    """

    settings: Mapping[str, Any]
    fingerprint: str
    training: str
    refitted: bool
    bridge_users: int
    target_ratings: int
    data: DataSummary | None = None


@dataclass(frozen=True)
class BundledMode:
    """One mode of a bundle: its models, and the ids of their rows.

    Args:
        part: the models.
        source_ids: (S+1,) text by source item index; entry 0, the padding, is empty.
        target_ids: (T+1,) text by target item index, likewise.
        reading: how source ratings are read.
        origin: what it was made from.
        cap: how many items of a group a list may have, as the catalog says today; not part of the file.
    """

    part: Part
    source_ids: pa.Array
    target_ids: pa.Array
    reading: Reading
    origin: Origin
    cap: GroupCap | None = None

    def offering(self, known: Items, among: pa.Array | None = None, exclude: frozenset[str] = frozenset()) -> Self:
        """The same mode, restricted to what the catalog allows, with its limit of items of a group.

        Args:
            known: what the catalog says of the target items.
            among: ids of the items that exist today; None: all that the mode knows.
            exclude: ids of items that are not recommended either.

        Raises:
            SourceError: nothing is left.
        """
        capped = replace(self, cap=GroupCap.of(self.target_ids, known))
        if among is None and known.eligible is None and not exclude:
            return capped
        offered = self.target_ids.slice(1) if among is None else among
        return capped.among(may_be_recommended(offered, known, exclude))

    def among(self, items: pa.Array) -> Self:
        """The same mode, restricted to the target items with these ids."""
        kept = pc.is_in(self.target_ids, value_set=items).to_numpy(zero_copy_only=False)
        kept[0] = True  # the padding
        if kept.all():
            return self
        target = TargetItems(self.part.target.vectors[kept], self.part.target.offset[kept])
        lists = None if self.part.lists is None else self.part.lists.among(kept)
        stars = None if self.part.stars is None else self.part.stars.among(kept)
        part = replace(self.part, target=target, lists=lists, stars=stars)
        cap = None if self.cap is None else self.cap.among(kept)
        return replace(self, part=part, target_ids=self.target_ids.filter(kept), cap=cap)

    def tensors(self) -> Tensors:
        """All arrays by name."""
        personal, known = self.part.personal, self.part.known
        lists = {} if self.part.lists is None else self.part.lists.tensors()
        stars = {} if self.part.stars is None else self.part.stars.tensors()
        users = {} if known is None else {"known.vectors": known.vectors} | texts_as_tensors("known.ids", known.ids)
        return {
            **texts_as_tensors("source_ids", self.source_ids),
            **texts_as_tensors("target_ids", self.target_ids),
            **{f"space.{name}": tensor for name, tensor in self.part.source.tensors().items()},
            **{f"personal.{name}": tensor for name, tensor in network_tensors(personal.network).items()},
            "personal.common": personal.common,
            "personal.fallback": personal.fallback,
            "personal.strength": np.array(personal.strength),
            "target.vectors": self.part.target.vectors,
            "target.offset": self.part.target.offset,
            "mean": self.part.mean,
            **{f"lists.{name}": tensor for name, tensor in lists.items()},
            **{f"stars.{name}": tensor for name, tensor in stars.items()},
            **users,
        }

    def head(self) -> dict[str, Any]:
        """Everything but the arrays, as JSON values."""
        scale = self.part.scale
        return {
            "space": self.part.source.kind,
            "scale": None if scale is None else asdict(scale),
            "reading": asdict(self.reading),
            "lists": None if self.part.lists is None else self.part.lists.chosen,
            "origin": asdict(self.origin),
        }

    @classmethod
    def of(cls, head: Mapping[str, Any], tensors: Mapping[str, Any]) -> Self:
        """Make the mode that ``head()`` and ``tensors()`` described."""
        common = tensors["personal.common"]
        network = network_from_tensors(under(tensors, "personal."), common.shape)
        personal = PersonalBridge(network, common, float(tensors["personal.strength"]), tensors["personal.fallback"])
        known, chosen = "known.vectors" in tensors, head["lists"]
        stars = under(tensors, "stars.")
        return cls(
            part=Part(
                source=SPACES[head["space"]].from_tensors(under(tensors, "space.")),
                personal=personal,
                target=TargetItems(tensors["target.vectors"], tensors["target.offset"]),
                mean=tensors["mean"],
                scale=_scale(head["scale"]),
                known=KnownUsers(texts_from_tensors("known.ids", tensors), tensors["known.vectors"]) if known else None,
                lists=None if chosen is None else Parts.from_tensors(under(tensors, "lists."), chosen),
                stars=StarDistribution.from_tensors(stars) if stars else None,
            ),
            source_ids=texts_from_tensors("source_ids", tensors),
            target_ids=texts_from_tensors("target_ids", tensors),
            reading=Reading(**head["reading"] | {"scale": _scale(head["reading"]["scale"])}),
            origin=_origin(head["origin"]),
        )


def _scale(ends: Mapping[str, float] | None) -> Scale | None:
    return None if ends is None else Scale(**ends)


def _origin(head: Mapping[str, Any]) -> Origin:
    data = head.get("data")
    return Origin(**{**head, "data": None if data is None else DataSummary(**data)})


def digest_of(tensors: Mapping[str, Any]) -> str:
    """Digest of all names, types, shapes and numbers."""
    content = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        content.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        content.update(np.asarray(tensor, order="C").tobytes())
    return content.hexdigest()


def under(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The tensors whose names start with a prefix, which is removed."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def texts_as_tensors(name: str, texts: pa.Array) -> Tensors:
    """A column of text as two arrays: its bytes, and where each text ends."""
    _, ends, content = texts.cast(pa.large_string()).buffers()
    offsets = np.frombuffer(ends, np.int64, len(texts) + 1, 8 * texts.offset)
    return {f"{name}.bytes": np.frombuffer(content or b"", np.uint8), f"{name}.ends": offsets}


def texts_from_tensors(name: str, tensors: Mapping[str, Any]) -> pa.Array:
    """The column of text that ``texts_as_tensors`` wrote."""
    ends, content = tensors[f"{name}.ends"], tensors[f"{name}.bytes"]
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(content)]
    texts = pa.Array.from_buffers(pa.large_string(), len(ends) - 1, buffers)
    texts.validate(full=True)
    return texts.cast(pa.string())
