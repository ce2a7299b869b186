"""Do two samples differ? Statistics with their gradients, their null distributions, and tests."""

from pairtile.two_sample.aggregated import AggregatedTest, KernelTest, mmd_aggregated_test
from pairtile.two_sample.disco import Pairwise, disco_test
from pairtile.two_sample.divergence import cauchy_schwarz_divergence
from pairtile.two_sample.gradient import MMDGradient
from pairtile.two_sample.inception import KID, kid
from pairtile.two_sample.online import OnlineMMD, OnlineResult
from pairtile.two_sample.permutation import energy_test, mmd_test
from pairtile.two_sample.power import MMDPower, mmd_power
from pairtile.two_sample.rejections import Power, power
from pairtile.two_sample.results import TestResult
from pairtile.two_sample.sliced import sliced_test
from pairtile.two_sample.statistics import energy_distance, mmd

__all__ = [
    "KID",
    "AggregatedTest",
    "KernelTest",
    "MMDGradient",
    "MMDPower",
    "OnlineMMD",
    "OnlineResult",
    "Pairwise",
    "Power",
    "TestResult",
    "cauchy_schwarz_divergence",
    "disco_test",
    "energy_distance",
    "energy_test",
    "kid",
    "mmd",
    "mmd_aggregated_test",
    "mmd_power",
    "mmd_test",
    "power",
    "sliced_test",
]
