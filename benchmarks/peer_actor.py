"""The task that dramatiq's workers run in `peers.py`: one increment in Redis, so that its end can be seen."""

from __future__ import annotations

import os

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker

DONE = "done"
REDIS_URL = os.environ["DSAGE_BENCH_REDIS"]

counter = redis.Redis.from_url(REDIS_URL)
dramatiq.set_broker(RedisBroker(url=REDIS_URL))  # type: ignore[no-untyped-call]


@dramatiq.actor(max_retries=0)
def count(number: int) -> None:
    """Count one task."""
    counter.incr(DONE)
