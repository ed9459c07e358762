"""What lies in a store is told a page at a time: all of it, in order, and of a million names a thousand in memory."""

import sys
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from object_store import ObjectStore, store_in_use

from seqgen import store_pages
from seqgen.places import facts_in, names_in, place_of
from seqgen.remote import RemotePath
from seqgen.store_errors import StoreError
from seqgen.store_pages import folder_pages, gcs_pages

NAMES = [f"train-{number:06d}.tar" for number in range(10)]


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with store_in_use() as running:
        yield running


@pytest.fixture
def folder(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemotePath]:
    """Ten files, a folder among them, an entry for the folder itself, and others beside it; in pages of three."""
    monkeypatch.setattr(store_pages, "PAGE", 3)
    bucket = store.new_bucket()
    for key in ("clips/shards/", *(f"clips/shards/{name}" for name in NAMES), "clips/shards/train-000004/x", "clips/shards-2/x", "clips/a"):
        store.client().put_object(Bucket=bucket, Key=key, Body=b"12")
    yield place_of(f"s3://{bucket}/clips/shards")
    store.fault = lambda method, path: None


def test_all_names_come_whatever_the_pages(folder: RemotePath, store: ObjectStore) -> None:
    store.asked.clear()
    assert sorted(names_in(folder)) == sorted([*NAMES, "train-000004"])
    assert len(store.asked) == 4  # of twelve entries
    assert sorted(path.name for path in folder.parent.iterdir()) == ["a", "shards", "shards-2"]
    assert sorted(path.name for path in folder.parent.parent.iterdir()) == ["clips"]


def test_a_page_is_asked_for_when_its_turn_comes(folder: RemotePath, store: ObjectStore) -> None:
    names = names_in(folder)
    store.asked.clear()
    assert [next(names) for _ in range(2)] == NAMES[:2] and len(store.asked) == 1
    store.failing(500, "GET", "")
    with pytest.raises(StoreError, match=rf"^{folder}: made to fail"):
        list(names)


@pytest.mark.parametrize("page", [1, 3, 1000])
def test_all_below_a_folder_goes_and_nothing_beside_it(folder: RemotePath, store: ObjectStore, page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_pages, "PAGE", page)
    folder.remove_tree()
    assert store.content(folder.base.removeprefix("s3://")).keys() - {"clips/shards/"} == {"clips/shards-2/x", "clips/a"}
    folder.remove_tree()
    (folder / "nowhere").remove_tree()


def test_an_empty_bucket_is_a_folder_and_a_missing_one_is_none(store: ObjectStore) -> None:
    assert list(place_of(f"s3://{store.new_bucket()}").names()) == []
    for place in ("s3://no-such-bucket", f"s3://{store.new_bucket()}/a"):
        with pytest.raises(FileNotFoundError):
            list(place_of(place).names())


@pytest.mark.parametrize(
    ("asked", "others"),
    [
        (["train-000999.tar", "train-001000.tar"], ["train-002000.tar", "train-000998.tar"]),
        (["train-099999.tar", "train-100000.tar"], ["train-098000.tar", "train-200000.tar", "test-000001.tar"]),
        (["train-999999.tar", "train-1000000.tar"], ["train-500000.tar", "train-1001000.tar"]),
    ],
)
def test_no_question_about_files_brings_more_than_their_thousands(store: ObjectStore, asked: list[str], others: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Those on both sides of a thousand have a short beginning in common, that of nearly all there is."""
    bucket = store.new_bucket()
    for name in (*asked, *others):
        store.client().put_object(Bucket=bucket, Key=name, Body=name.encode())
    folder, told = place_of(f"s3://{bucket}"), []
    driver = type(folder.driver()[0])
    find = driver.find
    monkeypatch.setattr(driver, "find", lambda *given, **options: told.append(find(*given, **options)) or told[-1])
    assert [facts and facts.st_size for facts in facts_in(folder, [*asked, "train-000997.tar"])] == [len(name) for name in asked] + [None]
    assert len(told) == 2 + (asked[0] != "train-000999.tar") and not {path.rpartition("/")[2] for found in told for path in found} & (set(others) - {"train-000998.tar"})


def test_many_names_are_held_a_page_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names alone of so many would be more than the bound, and what S3 tells of them several times that; a page is 1 MB, the rest is left to other threads."""
    folder, number = place_of("s3://bucket/clips/shards"), 300_000
    monkeypatch.setattr(type(folder.driver()[0]), "call_s3", lambda store, method, **asked: page_of_s3(number, asked))
    tracemalloc.start()
    try:
        assert sum(1 for _ in names_in(folder)) == number and tracemalloc.get_traced_memory()[1] < number * sys.getsizeof(NAMES[0])
    finally:
        tracemalloc.stop()


def page_of_s3(number: int, asked: dict[str, Any]) -> dict[str, Any]:
    """A page of S3's answer over so many keys."""
    assert asked["MaxKeys"] == 1000 and asked["Prefix"] == "clips/shards/"
    first = int(asked.get("ContinuationToken", 0))
    entries = [{"Key": f"clips/shards/train-{place:06d}.tar", "Size": place, "ETag": f"{place:032x}"} for place in range(first, first + 1000)]
    return {"Contents": entries, "IsTruncated": first + 1000 < number, "NextContinuationToken": str(first + 1000)}


class Google:
    """Answers as the JSON API of Google Cloud Storage documents `Objects: list`, over keys in their order."""

    def __init__(self, keys: list[str]) -> None:
        self.keys, self.asked = sorted(keys), 0

    def call(self, *what: str, json_out: bool, maxResults: int, fields: str, prefix: str = "", delimiter: str | None = None, pageToken: str = "") -> dict:
        assert what == ("GET", "b/{}/o", "bucket") and json_out and delimiter != "" and fields == "items/name,prefixes,nextPageToken"
        self.asked += 1
        ends = {key: key.find(delimiter, len(prefix)) + 1 if delimiter else 0 for key in self.keys if key.startswith(prefix)}
        found = [name for name in dict.fromkeys(key[: end or None] for key, end in ends.items()) if name > pageToken]
        page = found[:maxResults]
        items, prefixes = [{"name": key} for key in page if key in self.keys], [key for key in page if key not in self.keys]
        more = {"nextPageToken": page[-1]} if page != found else {}
        return ({"items": items} if items else {}) | ({"prefixes": prefixes} if prefixes else {}) | more


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_google_tells_pages_too(page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_pages, "PAGE", page)
    google = Google(["clips/shards/", "clips/shards/a.tar", "clips/shards/b.tar", "clips/shards/c/d", "clips/shards/c/e", "clips/x", "top"])
    for folder, deep, names in (
        ("bucket/clips/shards", False, ["a.tar", "b.tar", "c"]),
        ("bucket/clips/shards", True, ["a.tar", "b.tar", "c/d", "c/e"]),
        ("bucket/clips", False, ["shards", "x"]),
        ("bucket", False, ["clips", "top"]),
    ):
        google.asked = 0
        assert sorted(name for some in folder_pages(gcs_pages, google, folder, deep=deep) for name in some) == names
        assert google.asked == -(-(len(names) + (folder == "bucket/clips/shards")) // page)
    with pytest.raises(FileNotFoundError):
        list(folder_pages(gcs_pages, google, "bucket/none"))
