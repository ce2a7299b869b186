"""Neighbours as scikit-learn has them, for every estimator that takes a graph of them.

The classes mean what those of their names in `sklearn.neighbors` mean. scikit-learn checks what
comes in, `knn` and `radius_neighbors` search, and what goes out are lists, or a sparse CSR matrix
whose rows are sorted by (distance, index):

    base            parameters, rows that come in, graphs that go out
    searches        NearestNeighbors, and the searches that all share
    transformers    KNeighborsTransformer and RadiusNeighborsTransformer, for pipelines

No other module imports scikit-learn (extra ``sklearn``).
"""

from pairtile._front.extras import MissingExtraError

try:
    from pairtile.sklearn.searches import NearestNeighbors
    from pairtile.sklearn.transformers import KNeighborsTransformer, RadiusNeighborsTransformer
except ImportError as error:
    raise MissingExtraError(
        'pairtile.sklearn needs scikit-learn 1.6 or later: pip install "pairtile[sklearn]"'
    ) from error

__all__ = ["KNeighborsTransformer", "NearestNeighbors", "RadiusNeighborsTransformer"]
