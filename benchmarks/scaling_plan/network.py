"""A small discrete-event simulation of what processes send each other, and closed forms of it.

A collective is a list of phases. In a phase a process sends some messages, and it enters the next
phase once all that it sends and receives in this one has passed. Messages queue, first come first
served, at the network card of the sender, at the switch and at the card of the receiver. A message
goes on to the next queue while its end is still in the one before, so an idle path takes its bytes
once, at the rate of the slowest part.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    'Collective',
    'Network',
    'closed_form',
    'phases_of',
    'sent_bytes',
    'simulate',
    'simulate_all',
]

Phase = list[tuple[int, int, float]]
"""Messages: sender, receiver, bytes. A sender's own are sent in this order."""
KINDS = ('all_to_all', 'all_reduce', 'ring', 'reduce')


class Network(NamedTuple):
    """What connects the processes."""

    bandwidth: float
    """Bytes a second of a process's network card, in each direction."""
    latency: float
    """Seconds until the first byte of a message arrives."""
    switch: float = float('inf')
    """Bytes a second that pass the switch in sum; infinite if it never blocks."""
    slow: tuple[int, float] | None = None
    """A process with another bandwidth, and this."""

    def rate(self, process: int) -> float:
        """Return the bandwidth of a process."""
        return self.slow[1] if self.slow and self.slow[0] == process else self.bandwidth


class Collective(NamedTuple):
    """Something that all processes exchange."""

    kind: str
    """``'all_to_all'``, ``'all_reduce'``, ``'ring'`` or ``'reduce'``."""
    size: float
    """Bytes of a process: what it has for all in an all-to-all, what is added in an all-reduce, its
    own part in a ring, and all parts together that are added, each at its owner, in reduces."""
    shares: NDArray[np.float64] | None = None
    """Of an all-to-all: the share of each process's bytes that goes to each process; equal shares
    by default. Shape: ``[P, P]``."""


def sent_bytes(collective: Collective, processes: int) -> float:
    """Return the bytes that a process sends, its share of what is even."""
    kind, size, others = collective.kind, collective.size, processes - 1
    return {
        'all_to_all': size * others / processes,
        'all_reduce': 2 * size * others / processes,
        'ring': size * others,
        'reduce': size * others / processes * (1 + 1 / processes),
    }[kind]


def closed_form(collective: Collective, processes: int, network: Network) -> float:
    r"""Return the seconds of a collective of even sizes on a network that is the same everywhere.

    With :math:`P` processes, bandwidth :math:`b` and latency :math:`a`, an all-to-all of :math:`S`
    bytes takes :math:`a + S (P - 1) / (P b)`. The phases of a ring wait for each other: an
    all-reduce takes :math:`2 (P - 1) (a + S / (P b))`, a ring :math:`(P - 1) (a + S / b)`. The
    :math:`P` reduces, each of :math:`S / P`, scatter in :math:`P - 1` phases and gather in one.
    """
    if processes == 1:
        return 0.0
    a, rate, size, others = network.latency, network.bandwidth, collective.size, processes - 1
    busy = processes * sent_bytes(collective, processes) / network.switch
    part = size / processes / rate
    seconds = {
        'all_to_all': a + part * others,
        'all_reduce': 2 * others * (a + part),
        'ring': others * (a + size / rate),
        'reduce': processes * (processes * a + 2 * others * part / processes),
    }[collective.kind]
    return max(seconds, busy)


def phases_of(collective: Collective, processes: int) -> Iterator[Phase]:
    """Yield the phases of a collective, as gloo sends it."""
    kind, size = collective.kind, collective.size
    every = range(processes)
    if kind == 'all_to_all':
        shares = collective.shares
        yield [
            (
                sender,
                (sender + step) % processes,
                size / processes
                if shares is None
                else size * float(shares[sender, (sender + step) % processes]),
            )
            for step in range(1, processes)
            for sender in every
        ]
        return
    if kind in ('all_reduce', 'ring'):
        rounds = (2 if kind == 'all_reduce' else 1) * (processes - 1)
        part = size / processes if kind == 'all_reduce' else size
        for _ in range(rounds):
            yield [(sender, (sender + 1) % processes, part) for sender in every]
        return
    part = size / processes**2
    for owner in every:
        for _ in range(processes - 1):
            yield [(sender, (sender + 1) % processes, part) for sender in every]
        yield [(sender, owner, part) for sender in every if sender != owner]


def simulate(phases: Sequence[Phase], processes: int, network: Network) -> NDArray[np.float64]:
    """Return when each process is through with all phases, in seconds from the start.

    Args:
        phases: The messages of each phase.
        processes: Number of processes.
        network: What connects them.
    """
    return _Simulation(phases, processes, network).run()


@dataclass
class _Message:
    sender: int
    receiver: int
    size: float
    phase: int
    left: float = 0.0
    """When its last byte left the queue before."""


class _Simulation:
    def __init__(self, phases: Sequence[Phase], processes: int, network: Network) -> None:
        self.network = network
        self.sends: list[dict[int, list[_Message]]] = []
        self.missing: list[dict[int, int]] = []
        """In each phase, the messages that a process has yet to send or receive."""
        for number, phase in enumerate(phases):
            own: dict[int, list[_Message]] = defaultdict(list)
            missing: dict[int, int] = defaultdict(int)
            for sender, receiver, size in phase:
                own[sender].append(_Message(sender, receiver, size, number))
                missing[sender] += 1
                missing[receiver] += 1
            self.sends.append(own)
            self.missing.append(missing)
        self.phase = [-1] * processes
        self.ends = np.zeros(processes)
        self.free: dict[tuple[str, int], float] = defaultdict(float)
        self.events: list[tuple[float, int, str, _Message]] = []
        self.numbers = count()

    def run(self) -> NDArray[np.float64]:
        for process in range(len(self.phase)):
            self._advance(process, 0.0)
        while self.events:
            time, _, place, message = heapq.heappop(self.events)
            if place in ('sent', 'received'):
                self._pass(message.sender if place == 'sent' else message.receiver, message, time)
            else:
                self._queue(time, place, message)
        return self.ends

    def _advance(self, process: int, time: float) -> None:
        """Enter the next phase in which a process has something left to do."""
        self.ends[process] = time
        while self.phase[process] + 1 < len(self.sends):
            self.phase[process] += 1
            phase = self.phase[process]
            for message in self.sends[phase].get(process, ()):
                self._at(time, 'out', message)
            if self.missing[phase].get(process, 0) > 0:
                return

    def _pass(self, process: int, message: _Message, time: float) -> None:
        """Note that a message has left its sender, or has reached its receiver."""
        self.missing[message.phase][process] -= 1
        if self.missing[message.phase][process] == 0 and self.phase[process] == message.phase:
            self._advance(process, time)

    def _queue(self, time: float, place: str, message: _Message) -> None:
        """Take a message through a queue, and send its head on to the next."""
        queue, rate, delay, following = {
            'out': (message.sender, self.network.rate(message.sender), 0.0, 'switch'),
            'switch': (0, self.network.switch, 0.0, 'in'),
            'in': (
                message.receiver,
                self.network.rate(message.receiver),
                self.network.latency,
                'received',
            ),
        }[place]
        start = max(time + delay, self.free[place, queue])
        # Others may use what a message leaves free that comes more slowly than this queue takes it.
        self.free[place, queue] = start + message.size / rate
        message.left = end = max(self.free[place, queue], message.left + delay)
        if place == 'out':
            self._at(end, 'sent', message)
        self._at(end if following == 'received' else start, following, message)

    def _at(self, time: float, place: str, message: _Message) -> None:
        heapq.heappush(self.events, (time, next(self.numbers), place, message))


def simulate_all(
    collectives: Sequence[Collective], processes: int, network: Network
) -> tuple[float, float]:
    """Return the seconds of collectives one after the other: the mean of processes, and the last.

    Args:
        collectives: What the processes exchange.
        processes: Number of processes.
        network: What connects them.
    """
    phases = [phase for each in collectives for phase in phases_of(each, processes)]
    ends = simulate(phases, processes, network)
    return float(ends.mean()), float(ends.max())
