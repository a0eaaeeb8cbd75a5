"""The consistent parallel scan of a live table: every item once, in no order.

Invariant: every read is consistent, so the scan sees each item as it was at some moment between its beginning and its
end; nothing is asked of the table but `scan`. No clock: who scans says when it began and ended.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from archiver.stream import wire


def scan_items(client: Any, table_name: str, *, threads: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every item of a live table by a consistent parallel scan, `threads` segments at once, in no order.

    `client` is boto3's low-level DynamoDB client. At most two pages (of 1 MB) of each segment are in memory.
    """

    def page(segment: int, start: Mapping[str, Any] | None) -> Mapping[str, Any]:
        request = {"TableName": table_name, "ConsistentRead": True, "Segment": segment, "TotalSegments": threads}
        answer: Mapping[str, Any] = client.scan(**request, **({"ExclusiveStartKey": start} if start else {}))
        return answer

    place = f"an item of {table_name}"
    with ThreadPoolExecutor(threads) as pool:
        waiting: dict[Future[Mapping[str, Any]], int] = {pool.submit(page, n, None): n for n in range(threads)}
        try:
            while waiting:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    segment, answer = waiting.pop(future), future.result()
                    if answer.get("LastEvaluatedKey"):
                        waiting[pool.submit(page, segment, answer["LastEvaluatedKey"])] = segment
                    yield from ((place, wire(item)) for item in answer["Items"])
        finally:
            for future in waiting:
                future.cancel()
