"""The object store: written, read and deleted, by the client that the server has for it."""

import secrets
import time
from collections.abc import Sequence
from contextlib import aclosing
from hashlib import sha256

from proxy.doctor.findings import Finding, ok, problem
from proxy.doctor.overheard import Overheard
from proxy.errors import StoreUnavailable
from proxy.simple.model import ProjectName
from proxy.storage.blobs import BlobKey
from proxy.storage.blobs_object import SharedBlobs
from proxy.words import seconds_in_words

_OBJECTS = "object store"


async def check_objects(url: str) -> Sequence[Finding]:
    """Write a small object, read it and delete it. Raises `ConfigError`."""
    overheard = Overheard(_OBJECTS)
    shared = SharedBlobs.connect(url, overheard.telemetry)
    data = secrets.token_bytes(16)
    key = BlobKey(
        project=ProjectName("wheelkeep-doctor"),
        filename="probe",
        sha256=sha256(data).hexdigest(),
    )
    step, begun = "reached", time.monotonic()
    try:
        await shared.check()
        step = "written"
        await shared.upload(key, data)
        step = "read"
        async with shared.fetch(key)() as stream, aclosing(stream.chunks) as chunks:
            read = b"".join([chunk async for chunk in chunks])
        step = "deleted"
        await shared.delete(key)
    except StoreUnavailable as failure:
        advice = (
            "look at cache.blobs, and at the variables that its vendor's tools read: "
            "AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, GOOGLE_SERVICE_ACCOUNT, "
            "AZURE_STORAGE_ACCOUNT_NAME, …"
        )
        return [problem(_OBJECTS, f"{url} cannot be {step}: {failure.problem}", advice)]
    if read != data:
        return [problem(_OBJECTS, f"{url} gives back other bytes than were written")]
    took = seconds_in_words(time.monotonic() - begun)
    return [ok(_OBJECTS, f"{url}: written, read and deleted in {took}"), *overheard.warnings]
