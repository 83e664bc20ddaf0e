"""Numbers of a server that has been busy for weeks, for whoever looks at what is made of them."""

import math
from datetime import datetime, timedelta

from proxy.history import SCALES
from proxy.reports import (
    AskedProject,
    HeldProject,
    History,
    IndexReport,
    LastError,
    Overview,
    Point,
    Span,
    Stats,
    Sums,
)


def history(span: Span, now: datetime) -> History:
    """A history with nights, a weekend, an outage and a step in which nothing was asked."""
    seconds, count = SCALES[span].step, SCALES[span].count
    last = int(now.timestamp()) // seconds * seconds
    points = [_point(last - (count - 1 - at) * seconds, seconds, now) for at in range(count)]
    points[count // 3] = Point(at=points[count // 3].at)
    fields = Sums.__struct_fields__
    total = Sums(**{name: sum(getattr(point, name) for point in points) for name in fields})
    return History(span=span, step_seconds=seconds, points=points, total=total)


def _point(at: int, seconds: int, now: datetime) -> Point:
    moment = datetime.fromtimestamp(at, now.tzinfo)
    hour = moment.hour + moment.minute / 60
    busy = 0.15 + max(0.0, math.sin((hour - 6) / 14 * math.pi)) * (
        0.35 if moment.weekday() > 4 else 1
    )
    wobble = 1 + 0.35 * math.sin(at / seconds * 2.1) * math.cos(at / seconds * 0.7)
    requests = int(busy * wobble * seconds * 0.9) + 3
    misses = int(requests * (0.03 + 0.05 * abs(math.sin(at / seconds * 0.9))))
    is_outage = now - timedelta(hours=5) < moment < now - timedelta(hours=4)
    errors = requests // 40 if is_outage else 0
    denied = requests // 150
    hits = requests - misses - errors - denied
    served, fetched = requests * 310_000, misses * 420_000
    return Point(
        at=moment,
        requests=requests,
        hits=hits,
        misses=misses,
        stale=hits // 4 if is_outage else 0,
        denied=denied,
        errors=errors,
        bytes_served=served,
        bytes_from_upstream=fetched,
        bytes_saved=max(0, served - fetched),
        upstream_requests=misses + requests // 30,
        upstream_errors=errors,
        seconds_saved=hits * 0.21,
    )


def stats(now: datetime, **fields: object) -> Stats:
    known = {
        "version": "0.1.0",
        "started_at": now - timedelta(days=23, hours=4, minutes=30),
        "workers": 4,
        "requests": 1_284_310,
        "hits": 1_221_004,
        "misses": 52_114,
        "revalidated": 14_221,
        "stale": 310,
        "denied": 8_410,
        "errors": 122,
        "bytes_served": 402_118_000_000,
        "bytes_saved": 380_900_000_000,
        "bytes_from_upstream": 21_400_000_000,
        "upstream_requests": 66_200,
        "pages": 4_318,
        "blobs": 18_420,
        "blob_bytes": 14_600_000_000,
        "max_bytes": 20 << 30,
    }
    return Stats(**known | fields)


def overview(now: datetime, **fields: object) -> Overview:
    """All indexes well but one."""
    waits = [
        0.045 + 0.02 * math.sin(at * 0.7) + (0.09 if at in (20, 21) else 0) for at in range(60)
    ]
    known = {
        "stats": stats(now),
        "indexes": [
            IndexReport(
                name="corp",
                url="https://packages.example.com/simple/",
                health="failing",
                projects=["acme-*"],
                requests=214,
                errors=31,
                latency_seconds=0.412,
                latencies=[
                    None if at > 48 or at % 7 == 3 else 0.3 + at % 5 / 20 for at in range(60)
                ],
                bytes_received=8_400_000,
                retry_in_seconds=12.4,
                problem="cannot connect to packages.example.com: Connection refused",
            ),
            IndexReport(
                name="pypi",
                url="https://pypi.org/simple/",
                health="ok",
                projects=["*"],
                requests=1_904,
                errors=0,
                latency_seconds=0.048,
                latencies=waits,
                bytes_received=612_000_000,
            ),
            IndexReport(
                name="wheels",
                url="file:///srv/wheels/",
                health="ok",
                projects=["acme-internal"],
                requests=0,
                errors=0,
                latency_seconds=None,
                latencies=[None] * 60,
                bytes_received=0,
            ),
        ],
        "most_asked": [
            AskedProject(project=name, requests=requests, bytes_served=requests * size)
            for name, requests, size in (
                ("numpy", 18_204, 16_000_000),
                ("requests", 15_877, 64_000),
                ("typing-extensions", 14_120, 44_000),
                ("certifi", 12_033, 158_000),
                ("urllib3", 11_873, 126_000),
                ("pydantic-core", 9_014, 2_000_000),
                ("setuptools", 8_822, 1_200_000),
                ("cryptography", 6_410, 4_400_000),
                ("acme-tools", 3_208, 310_000),
                ("a-project-with-quite-a-long-name-as-some-have", 204, 9_000),
            )
        ],
        "held": [
            HeldProject(
                project="requests",
                files=2,
                rules={"policy.min_age": 2},
                until=now + timedelta(hours=9),
            ),
            HeldProject(
                project="cryptography",
                files=41,
                rules={"policy.min_age": 40, "policy.hide_yanked": 1},
                until=now + timedelta(days=3, hours=4),
            ),
            HeldProject(project="evil-pkg", files=12, rules={"policy.deny": 12}, until=None),
        ],
        "last_errors": [
            LastError(
                at=now - timedelta(minutes=4),
                what="upstream failed",
                problem="cannot connect to packages.example.com: Connection refused",
                index="corp",
                project="acme-tools",
                count=31,
            ),
            LastError(
                at=now - timedelta(hours=5),
                what="fill failed",
                problem="numpy-2.9.1-cp313-cp313-manylinux_2_28_x86_64.whl: the connection was "
                "closed after 8,388,608 of 16,823,112 bytes",
                index="pypi",
                project="numpy",
            ),
        ],
    }
    return Overview(**known | fields)
