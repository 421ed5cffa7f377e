"""Processes: those that train one run together meet, agree, and learn when one of them has gone."""

from __future__ import annotations

import atexit
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from ppvae.runs import launch

PATIENCE = 10.0  # seconds that process 0 waits for the others in the end
MEETING = timedelta(minutes=10)  # that processes wait for one another in the beginning, as torchrun does for its own
SILENT = 20.0  # seconds after which one that waits says so
_store: list[Any] = []  # what all processes read and write, once they have met
LOST = "another process of this run has ended before the run was trained, or the launcher has ended all of them"


def joined() -> bool:
    """Do several processes train together from here on?"""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def join() -> None:
    """Meet the processes that were launched with this one; nothing where it was started alone, or has met them.

    Raises:
        ValueError: what the launcher has told cannot be.
        ConnectionError: they did not come.
    """
    launch.check()
    if launch.count() == 1 or distributed.is_initialized():
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with _meeting():
        store, rank, count = next(distributed.rendezvous("env://", timeout=MEETING))
    with together():
        distributed.init_process_group(backend, store=store, rank=rank, world_size=count)
    atexit.register(leave)
    _store.append(store)


@contextmanager
def _meeting() -> Iterator[None]:
    """Within the block the others are waited for, which is said where it takes long.

    Raises:
        ConnectionError: they did not come, or the place is taken.
    """
    place, others = launch.place(), f"the others of {launch.count()} processes"
    waiting = f"Waiting at {place} for {others}, {MEETING.seconds // 60} minutes at most."
    told = threading.Timer(SILENT, print, [waiting], {"file": sys.stderr, "flush": True})
    told.daemon = True
    told.start()
    began = time.monotonic()
    try:
        yield
    except RuntimeError as error:
        if "address already in use" in str(error):
            raise ConnectionError(f"{place} is in use: give all processes another MASTER_PORT") from error
        raise ConnectionError(
            f"process {launch.rank()} has waited {time.monotonic() - began:.0f} seconds at {place} for {others}: start "
            "all of them, with one MASTER_ADDR, MASTER_PORT and WORLD_SIZE, and each with a RANK of its own"
        ) from error
    finally:
        told.cancel()


def leave() -> None:
    """Part from the other processes; those that wait for this one then learn that it has gone."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def end(shutdown: Callable[[], None]) -> None:
    """Shut something down that process 0 keeps for the others: its own comes after theirs, but for those that died."""
    if not joined():
        return
    if launch.rank():
        shutdown()
    with suppress(RuntimeError):
        done = _store[0].add("ended", 1)
        limit = time.monotonic() + PATIENCE
        while launch.rank() == 0 and done < launch.count() and time.monotonic() < limit:
            time.sleep(0.05)
            done = _store[0].add("ended", 0)
    if launch.rank() == 0:
        shutdown()


@contextmanager
def together() -> Iterator[None]:
    """Within the block all processes do the same.

    Raises:
        ConnectionError: one of them no longer does.
    """
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError(LOST) from error


@contextmanager
def parting() -> Iterator[None]:
    """Where the block fails in this process, the others learn that it has gone; numbers that are none fail in all."""
    try:
        yield
    except FloatingPointError:
        raise
    except BaseException:
        leave()
        raise


def agreed(value: Any) -> Any:
    """What process 0 gives; whatever it has done before, such as writing a file, has been done."""
    if not joined():
        return value
    given = [value]
    with together():
        distributed.broadcast_object_list(given, src=0, device=torch.device("cpu"))
    return given[0]


def check_same(facts: Mapping[str, Any]) -> None:
    """Raise ValueError, in all processes alike, where one of them is about to train something else than process 0."""
    if not joined():
        return
    everyone: list[Mapping[str, Any]] = [{}] * distributed.get_world_size()
    with together():
        distributed.all_gather_object(everyone, facts)
    for number, theirs in enumerate(everyone):
        for name in facts:
            if theirs.get(name) != everyone[0].get(name):
                raise ValueError(f"process {number} has other {name} than process 0: give all of them the same")


def own(size: int) -> slice:
    """The rows of a batch of so many items that this process takes: shares differ by one item at most."""
    if not joined():
        return slice(0, size)
    number, count = distributed.get_rank(), distributed.get_world_size()
    return slice(size * number // count, size * (number + 1) // count)


def check_shares(size: int, subsampled: bool) -> None:
    """Raise ValueError where a batch of so many items has none for some process, or a plate does not say what it is of.

    What all items share would count in each process beside its own rows, as if these were the whole batch.
    """
    if launch.count() > 1 and not subsampled:
        raise ValueError(
            "processes share the items of batch.plate(), and the rows of this program stand in a plate of its own: "
            "write batch.plate() there, or train in one process"
        )
    if size < launch.count():
        raise ValueError(
            f"{launch.count()} processes cannot share batches of {size} items; launch fewer, or raise batch_size"
        )


def summed(tensor: torch.Tensor) -> torch.Tensor:
    """The sum over all processes, in the place of the tensor."""
    with together():
        distributed.all_reduce(tensor)
    return tensor
