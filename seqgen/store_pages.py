"""What lies in a store, a page at a time: fsspec's `ls` holds all entries of a folder at once, a gigabyte of a million. Knows the listings of S3 and of Google Cloud
Storage, which their drivers pass on; other drivers can but be asked for all. And what of a driver's entry for a file is of use.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

PAGE = 1000  # names, the most that S3 gives
STAMPS = ("LastModified", "last_modified", "mtime", "modified", "created")  # what drivers call the time of the last change


class FileFacts(NamedTuple):
    """Size in bytes, and when it was last changed, in nanoseconds since 1970: in whole seconds, as stores tell it; now, where a store does not."""

    st_size: int
    st_mtime_ns: int

    @property
    def st_mtime(self) -> float:
        return self.st_mtime_ns / 1e9


def facts_of(entry: dict[str, Any]) -> FileFacts:
    """What a driver tells of a file."""
    stamp = next((entry[name] for name in STAMPS if entry.get(name)), None)
    seconds = stamp.timestamp() if hasattr(stamp, "timestamp") else stamp if isinstance(stamp, float | int) else time.time()
    return FileFacts(int(entry.get("size") or 0), int(seconds) * 10**9)


def s3_pages(store: Any, bucket: str, prefix: str, delimiter: str) -> Iterator[list[str]]:
    """Keys that begin so, and with a delimiter what they have in common up to it (S3's ListObjectsV2)."""
    after: dict[str, str] = {}
    while True:
        page = store.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, Delimiter=delimiter, MaxKeys=PAGE, **after, **store.req_kw)
        yield [entry["Key"] for entry in page.get("Contents", ())] + [entry["Prefix"] for entry in page.get("CommonPrefixes", ())]
        if not page.get("IsTruncated"):
            return
        after = {"ContinuationToken": page["NextContinuationToken"]}


def gcs_pages(store: Any, bucket: str, prefix: str, delimiter: str) -> Iterator[list[str]]:
    """The same of Google Cloud Storage (Objects: list, of its JSON API)."""
    asked = {name: value for name, value in {"prefix": prefix, "delimiter": delimiter}.items() if value}
    after: dict[str, str] = {}
    while True:
        page = store.call("GET", "b/{}/o", bucket, json_out=True, maxResults=PAGE, fields="items/name,prefixes,nextPageToken", **asked, **after)
        yield [entry["name"] for entry in page.get("items", ())] + page.get("prefixes", [])
        if not page.get("nextPageToken"):
            return
        after = {"pageToken": page["nextPageToken"]}


Pager = Callable[[Any, str, str, str], Iterator[list[str]]]
PAGERS: dict[str, Pager] = {"s3": s3_pages, "s3a": s3_pages, "gs": gcs_pages, "gcs": gcs_pages}  # by protocol


def folder_pages(pager: Pager, store: Any, folder: str, *, deep: bool = False) -> Iterator[list[str]]:
    """The names, from the folder's on, of what lies right in it, or `deep` of all files under it; FileNotFoundError where there is nothing. Folders have no slash at
    their end; an entry for the folder itself, which some tools make, is left out."""
    bucket, _, key = folder.strip("/").partition("/")
    prefix, is_there = f"{key}/" if key else "", not key
    for page in pager(store, bucket, prefix, "" if deep else "/"):
        is_there = is_there or bool(page)
        yield [name.removeprefix(prefix).rstrip("/") for name in page if name != prefix]
    if not is_there:
        raise FileNotFoundError(folder)
