"""How a worker leaves its group: at once, also in the middle of a rebalance."""

import asyncio
from contextlib import suppress
from typing import Any

from pipeline.client import KafkaError, LeaveGroupRequest

LEAVE_S = 2.0
"""How long the end of each of its two steps is awaited. A member that could not leave is dropped after its session."""
_TRY_S = 0.2


async def leave(coordinator: Any) -> None:
    """Take no part in the group any more, and tell it so; a static member (``group.instance.id``) only goes.

    aiokafka itself waits for a join to end before it leaves, and a join ends when the slowest other member has joined,
    or after the rebalance timeout. Meanwhile the broker reads nothing more from the connection that asked for the
    join, so this goes by another one. It also makes the group go on without this member.

    Args:
        coordinator: aiokafka's, on its loop. Its own `close` must follow.
    """
    await _end(coordinator._coordination_task)  # noqa: SLF001 - there is no other way to it
    node_id, member_id = coordinator.coordinator_id, coordinator.member_id
    if node_id is None or not member_id or coordinator._group_instance_id is not None:  # noqa: SLF001 - as above
        return
    request = LeaveGroupRequest(coordinator.group_id, member_id)
    with suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(LEAVE_S):
            await coordinator._client.send(node_id, request)  # noqa: SLF001 - as above
    coordinator.reset_generation()


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a task until it has ended: one that is ending its heartbeats takes the first time for theirs."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LEAVE_S):
            while not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=_TRY_S)
