"""How a method is called and drawn, the same in every table and picture of a page."""

from collections.abc import Iterable
from dataclasses import dataclass

SIMPLE = ("global_mean", "item_mean", "source_offset")
"""The baselines that know nothing of embeddings."""


@dataclass(frozen=True)
class Style:
    """A method's name for people, what it is, and how its line looks.

    Args:
        name: for people.
        explanation: what the method is, in a few words; may be empty.
        color: as ``#rrggbb``.
        marker: matplotlib's.

    The colours are Okabe and Ito's, which the colour-blind can tell apart; markers and labels show the same.
    """

    name: str
    explanation: str
    color: str
    marker: str

    @property
    def subject(self) -> str:
        """The name at the start of a sentence."""
        return self.name if self.name.isupper() else f"The {self.name}"


_STYLES = {
    "global_mean": Style("global mean", "everybody gets the mean rating", "#767676", "x"),
    "item_mean": Style("item mean", "each item's own mean, damped", "#56B4E9", "s"),
    "source_offset": Style(
        "item mean + source offset", "item means, moved by how harshly the person rates in the source", "#0072B2", "D"
    ),
    "source_offset_fixed": Style(
        "item mean + source offset, damping 5", "the same with fixed dampings, as older tables have it", "#767676", "d"
    ),
    "joint_mf": Style("joint MF", "the item means and offsets, and factors of both domains together", "#44AA99", ">"),
    "popularity": Style("popularity", "the items that most people took, the same list for everybody", "#767676", "x"),
    "item_knn": Style("item-kNN", "target items next to the person's source items, by cosines", "#56B4E9", "s"),
    "kernel_ridge": Style("kernel ridge", "ridge regression from source rows to target rows", "#0072B2", "D"),
    "cgsp": Style("CGSP", "source items as a signal, filtered by a graph of both domains", "#AA4499", "<"),
    "joint_als": Style("joint iALS", "one implicit factorization of both domains", "#44AA99", ">"),
    "personal_bridge": Style("personal bridge", "the bridge alone, without further parts", "#CC79A7", "P"),
    "tgt": Style("TGT", "the target model alone, which has never seen these people", "#000000", "v"),
    "random": Style("random start", "fine-tuned from a random embedding", "#767676", "x"),
    "cmf": Style("CMF", "one model on both domains' ratings together", "#CC79A7", "P"),
    "emcdr": Style("EMCDR", "one map for everybody, from user embedding to user embedding", "#E69F00", "^"),
    "common_bridge": Style("common bridge", "one bridge for everybody, trained on ratings", "#009E73", "h"),
    "ptupcdr": Style("PTUPCDR", "each person's own bridge, written from the source history", "#D55E00", "o"),
    "lacdr": Style("LACDR", "user embeddings aligned in a low-dimensional code", "#882255", "<"),
    "sscdr": Style("SSCDR", "semi-supervised map with neighbours in the source", "#999933", ">"),
    "dcdcsr": Style("DCDCSR", "benchmark factors mixed by how dense the ratings are", "#6A3D9A", "p"),
}


def style(method: str) -> Style:
    """The style of a method; a plain grey one for a method without one."""
    return _STYLES.get(method, Style(method.replace("_", " "), "", "#444444", "."))


def listed(names: Iterable[str]) -> str:
    """Names of methods as a sentence lists them."""
    *front, last = [style(name).name for name in names]
    return f"{', '.join(front)} and {last}" if front else last
