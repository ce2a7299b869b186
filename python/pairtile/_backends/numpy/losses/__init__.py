"""NumPy twins of the losses: scores a few rows at a time and never whole, then their gradients.

In float64 throughout. A pass over the scores folds the losses of the rows, a second one multiplies
the weights ∂loss/∂S back.
"""

from pairtile._backends.numpy.losses.blocks import softmax_gradients, softmax_states
from pairtile._backends.numpy.losses.pairs import pair_losses
from pairtile._backends.numpy.losses.pulls import row_pulls
from pairtile._backends.numpy.losses.sigmoid import sigmoid_losses
from pairtile._backends.numpy.losses.softmax import softmax_losses
from pairtile._backends.numpy.losses.supcon import supcon_losses

__all__ = [
    "pair_losses",
    "row_pulls",
    "sigmoid_losses",
    "softmax_gradients",
    "softmax_losses",
    "softmax_states",
    "supcon_losses",
]
