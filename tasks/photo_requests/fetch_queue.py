"""Many addresses at once, each host in its own queue: a slow host keeps nobody else waiting."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from urllib.parse import urlsplit

from tasks.photo_requests.archive import Answer

Fetch = Callable[[str], Answer]


def fetch_all(
    fetch: Fetch,
    addresses: Iterable[str],
    connections: int,
    host_connections: int,
    tell: Callable[[int, int], None],
    stop: Callable[[], None] = lambda: None,
) -> dict[str, Answer]:
    """Fetch addresses in threads; returns the answers by address.

    Args:
        fetch: makes one answer; what it raises (a full disk) ends all.
        addresses: each is fetched once.
        connections: threads.
        host_connections: threads that work for one host at a time.
        tell: called with (answers so far, all) after each.
        stop: called where all ends early, by an error or Ctrl-C, so that nobody waits for what is on its way.
    """
    wanted = list(dict.fromkeys(addresses))
    queues: dict[str, deque[str]] = {}
    for address in wanted:
        queues.setdefault(_host(address), deque()).append(address)
    answers: dict[str, Answer] = {}
    running: dict[Future[Answer], str] = {}
    at_work: dict[str, int] = dict.fromkeys(queues, 0)
    with ThreadPoolExecutor(connections) as pool:
        try:
            while queues or running:
                for host in list(queues):
                    while queues[host] and at_work[host] < host_connections and len(running) < connections:
                        running[pool.submit(fetch, queues[host].popleft())] = host
                        at_work[host] += 1
                    if not queues[host]:
                        del queues[host]
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    at_work[running.pop(future)] -= 1
                    answer = future.result()
                    answers[answer.address] = answer
                    tell(len(answers), len(wanted))
        except BaseException:
            stop()
            raise
    return answers


def _host(address: str) -> str:
    try:
        return (urlsplit(address).hostname or "").lower()
    except ValueError:
        return ""
