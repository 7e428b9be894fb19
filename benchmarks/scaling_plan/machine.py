"""The machines that a plan is made for. Their figures are assumptions, with a reason each."""

from typing import NamedTuple

from scaling_plan.network import Network

__all__ = ['EFFICIENCY', 'GIGABIT_25', 'GIGABIT_100', 'Machine']


class Machine(NamedTuple):
    """A machine that runs one process."""

    cores: float
    """Cores that compute."""
    memory: float
    """Bytes of memory."""
    memory_bandwidth: float
    """Bytes a second that a copy reads and writes."""
    network: Network
    """Its network card, and what connects it to the others."""
    cache: float
    """Bytes of the last level of cache."""
    price: float
    """Dollars an hour."""


EFFICIENCY = 0.6
"""Of the cores of a large machine, as against two: memory far from a core, and serial Python."""
_LARGE = Machine(
    cores=48,  # 96 threads of two processors; the second thread of a core is not counted.
    memory=768e9,
    memory_bandwidth=150e9,  # Of 12 channels of 21 GB/s, 60 %, as copies reach.
    network=Network(100e9 / 8 * 0.8, 50e-6),  # TCP reaches four fifths; 50 us within a data centre.
    cache=70e6,
    price=7.15,  # On demand, list price of July 2021 for such a machine (r5n.24xlarge).
)
GIGABIT_100 = _LARGE
GIGABIT_25 = _LARGE._replace(network=Network(25e9 / 8 * 0.8, 50e-6), price=6.05)  # r5.24xlarge.
