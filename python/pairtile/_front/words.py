"""Words of other packages, and words that are nearly ours: what a user meant, and how it is said.

A metric or kernel that elsewhere has another name is taken under both. A keyword is not: one that
no function of that name has here is an error, which says the word that is right. `hint` gives every
public function that error.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pairtile._backends import places
from pairtile._backends.places import Where
from pairtile._backends.refusals import refuse_cuda
from pairtile._front import streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Public = TypeVar("Public", bound=Callable[..., Any])

Metric = Literal[
    "euclidean",
    "sqeuclidean",
    "cosine",
    "inner_product",
    "manhattan",
    "chebyshev",
    "correlation",
    "minkowski",
    "canberra",
    "braycurtis",
    "lorentzian",
    "nan_euclidean",
    "weuclidean",
    "mahalanobis",
    "gower",
    "hamming",
    "jaccard",
    "l2",
    "l1",
    "cityblock",
    "cos",
    "dot",
    "ip",
]
KernelName = Literal[
    "gaussian",
    "laplace",
    "cauchy",
    "polynomial",
    "linear",
    "cosine",
    "energy",
    "rbf",
    "cos",
    "dot",
    "ip",
]
Precision = Literal["default", "float64", "fast"]
Estimator = Literal["unbiased", "biased"]
BlockEstimator = Literal["linear", "block"]
GroupRule = Literal["same", "different"]
KeepRule = Literal["first", "medoid"]
AggregatedKernel = Literal["gaussian", "laplace", "laplace_l1", "rbf"]
NullMethod = Literal[
    "permutation", "random", "wild_bootstrap", "cheap_permutation", "gamma", "spectrum"
]
NormalMethod = Literal["normal"]  # of the block estimators
Enumerable = Literal["permutation", "random"]  # of tests that look at all relabellings if few
DirectionMethod = Literal["gaussian", "orthogonal", "sobol", "spiral"]
SlicedMethod = Literal["auto", "gaussian", "orthogonal", "sobol", "spiral"]
SlicedControl = Literal["auto", "moments", "harmonics"]

METRICS = {
    "l2": "euclidean",
    "l1": "manhattan",
    "cityblock": "manhattan",
    "cos": "cosine",
    "dot": "inner_product",
    "ip": "inner_product",
}
KERNELS = {"rbf": "gaussian", "cos": "cosine", "dot": "linear", "ip": "linear"}

# What other packages call an argument, and what it may be called here.
KEYWORDS = {
    "random_state": ("rng",),
    "seed": ("rng",),
    "n_jobs": ("workers",),
    "n_neighbors": ("k",),
    "nearest_k": ("k",),
    "n_resamples": ("n_permutations", "n_bootstrap"),
    "n_perm": ("n_permutations", "n_bootstrap"),
}


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like another, if any is much like it."""
    from difflib import get_close_matches  # when something is wrong already

    by_lower = {one.lower(): one for one in known}
    found = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.7)
    return by_lower[found[0]] if found else None


def keyword_hint(word: str, ours: Sequence[str]) -> str:
    """What to say of a keyword to a function whose arguments are `ours`."""
    there = KEYWORDS.get(word, ())
    here = [one for one in there if one in ours]
    if here:
        return f"here it is {here[0]}"
    if there:
        return f"elsewhere in pairtile that is {' or '.join(there)}, which it does not take"
    meant = nearest(word, ours)
    if meant is not None:
        return f"did you mean {meant}?"
    return f"it takes {', '.join(ours) or 'none'}"


def hinted(function: Public, name: str, where: Where = Where.THERE) -> Public:
    """The function itself, but that a wrong keyword is an error which names the right one.

    With torch tensors it works on torch's stream; arrays on a GPU are refused if it is not of them.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if where is Where.REFUSED:
            refuse_cuda(name, (*args, *kwargs.values()))
        try:
            with streams.of_tensors((*args, *kwargs.values())):
                return function(*args, **kwargs)
        except TypeError as error:
            inside = error.__traceback__ is not None and error.__traceback__.tb_next is not None
            ours = inspect.signature(function).parameters
            wrong = [word for word in kwargs if word not in ours]
            if inside or not wrong:
                raise
        known = [one for one in ours if one != "self"]
        raise TypeError(
            f"{name}() got an unexpected keyword argument {wrong[0]!r}; "
            f"{keyword_hint(wrong[0], known)}"
        ) from None

    return call  # type: ignore[return-value]


def hint(public: Any, module: str) -> Any:
    """A public function as `hinted`, by its place; a class with its constructor and methods so."""
    if inspect.isfunction(public):
        call = hinted(public, public.__name__, places.of(public.__name__).where)
        call.__module__ = module  # where it is found again when unpickled
        return call
    if inspect.isclass(public):
        where = places.of_class(public.__name__).where
        for name, method in list(vars(public).items()):
            shown = public.__name__ if name == "__init__" else f"{public.__name__}.{name}"
            if not inspect.isfunction(method) or (name.startswith("_") and name != "__init__"):
                continue
            setattr(public, name, hinted(method, shown, where))
    return public
