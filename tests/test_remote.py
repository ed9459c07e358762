"""Paths in stores: the same answers as of a folder; put at once or not at all; what a store answers, in one line and without keys."""

import asyncio
import errno
import hashlib
import os
import pickle
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from object_store import ObjectStore, store_in_use

from seqgen import files
from seqgen.errors import UserError
from seqgen.files import remove_tree, written_aside
from seqgen.places import Place, check_store, contents_in, facts_in, names_in, place_of, try_store
from seqgen.remote import RemotePath
from seqgen.store_errors import StoreError


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with store_in_use() as running:
        yield running


@pytest.fixture(autouse=True)
def sound(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "store" in request.fixturenames:
        request.getfixturevalue("store").fault = lambda method, path: None


class Shelf(LocalFileSystem):
    """A store that is no object store: what is put there grows before everybody's eyes. `breaks`: half way."""

    protocol = "shelf"
    breaks = False

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("shelf://", "/"))

    def put_file(self, lpath: str, rpath: str, **options: object) -> None:
        data = Path(lpath).read_bytes()
        Path(rpath).write_bytes(data[: len(data) // 2])
        if self.breaks:
            raise ConnectionError("the line broke")
        Path(rpath).write_bytes(data)


fsspec.register_implementation("shelf", Shelf, clobber=True)


@pytest.fixture(params=["folder", "s3", "memory", "shelf"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place of each kind; a folder is what the others are held against."""
    if request.param == "s3":
        return place_of(f"s3://{request.getfixturevalue('store').new_bucket()}/some/clips")
    return {"folder": tmp_path, "memory": place_of(f"memory://{tmp_path}"), "shelf": place_of(f"shelf:/{tmp_path}/clips")}[request.param]


def write(path: Place, text: str) -> None:
    files.write_text(path, text)


def test_a_store_answers_as_a_folder_does(place: Place) -> None:
    file = place / "shards" / "a.tar"
    assert not file.exists() and not file.is_file() and list((place / "shards").glob("*")) == []
    for gone in (file.stat, file.read_bytes, lambda: file.open("rb"), lambda: list((place / "nowhere").iterdir())):
        with pytest.raises(FileNotFoundError):
            gone()
    file.unlink(missing_ok=True)
    write(file, "first")
    write(file, "0123456789ä")
    write(place / "shards" / "b.tar.json", "{}")
    write(place / "dataset.json", "{}")
    assert file.exists() and file.is_file() and not file.is_dir() and (place / "shards").is_dir() and place.exists() and not (place / "shards").is_file()
    assert file.read_text(encoding="utf-8") == "0123456789ä" and file.read_bytes()[-2:] == "ä".encode() and file.stat().st_size == 12
    assert sorted(path.name for path in place.iterdir()) == ["dataset.json", "shards"]
    assert sorted((place / "shards").glob("*.tar")) == [file] and [path.name for path in (place / "shards").glob("*.json")] == ["b.tar.json"]
    with file.open("rb") as opened:
        assert (opened.read(3), opened.seek(-4, 2), opened.read(), opened.read(1), opened.tell()) == (b"012", 8, b"89\xc3\xa4", b"", 12)
    assert files.file_digest(file) == hashlib.sha256("0123456789ä".encode()).hexdigest()
    assert file.parent == place / "shards" and file.name == "a.tar" and file.with_name("c") == place / "shards" / "c" and file.match("*.tar")
    assert sorted(names_in(place / "shards")) == ["a.tar", "b.tar.json"] and list(names_in(place / "nowhere")) == []
    assert contents_in(place, ["dataset.json", "none", "shards"]) == [b"{}", None, None] and contents_in(place, []) == [] == facts_in(place, [])
    assert [facts and facts.st_size for facts in facts_in(place / "shards", ["b.tar.json", "a.ta", "a.tar"])] == [2, None, 12]
    assert facts_in(place, ["shards"]) == [None] == facts_in(place / "nowhere", ["a.tar"]) == contents_in(place / "nowhere", ["a.tar"])
    [facts] = facts_in(place, ["dataset.json"])
    assert facts.st_mtime_ns == (place / "dataset.json").stat().st_mtime_ns and abs(facts.st_mtime - time.time()) < 60
    file.unlink()
    assert not file.exists() and (place / "shards" / "b.tar.json").exists()
    remove_tree(place / "shards")
    remove_tree(place / "shards")
    assert [path.name for path in place.iterdir()] == ["dataset.json"]


def test_a_file_is_made_once(place: Place) -> None:
    assert files.write_text_once(place / "claim", "ours") and not files.write_text_once(place / "claim", "theirs")
    assert (place / "claim").read_text() == "ours" and [path.name for path in place.iterdir()] == ["claim"]


def test_of_many_that_make_a_file_at_once_one_does(store: ObjectStore) -> None:
    claim = place_of(f"s3://{store.new_bucket()}/claim")
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: files.write_text_once(claim, str(number)), range(8)))
    assert made.count(True) == 1 and claim.read_text() == str(made.index(True))


def test_a_folder_that_some_tools_make_in_a_store_is_empty(store: ObjectStore) -> None:
    bucket = store.new_bucket()
    store.client().put_object(Bucket=bucket, Key="clips/", Body=b"")
    place = place_of(f"s3://{bucket}/clips")
    assert place.is_dir() and list(place.iterdir()) == [] == list(place.names())


def test_many_are_asked_about_at_once(store: ObjectStore) -> None:
    folder = place_of(f"s3://{store.new_bucket()}/shards")
    names = [f"train-{number:06d}.tar" for number in range(1200, 1230)]
    for name in names[::3]:
        write(folder / name, name)
    store.asked.clear()
    assert [facts and facts.st_size for facts in facts_in(folder, names)] == [None if number % 3 else 16 for number in range(30)]
    assert len(store.asked) == 1
    assert contents_in(folder, names) == [None if number % 3 else name.encode() for number, name in enumerate(names)]
    store.failing(500, "GET", "train-001212")
    with pytest.raises(StoreError, match=r"train-001212\.tar"):
        contents_in(folder, names)


def test_of_two_kinds_each_is_asked_about_alone(store: ObjectStore) -> None:
    """Names of two splits share no beginning: a question about both at once would list all that is there."""
    bucket = store.new_bucket()
    folder, names = place_of(f"s3://{bucket}/shards"), ["train-000299.tar", "val-000000.tar"]
    for name in (*names, "test-000000.tar", "train-000100.tar"):
        write(folder / name, name)
    told = []
    find = type(folder.driver()[0]).find
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(folder.driver()[0]), "find", lambda *given, **options: told.append(find(*given, **options)) or told[-1])
        assert [facts and facts.st_size for facts in facts_in(folder, [*names, "none"])] == [16, 14, None]
    assert sorted(path.rpartition("/")[2] for found in told for path in found) == names


def test_what_fails_while_it_is_written_is_not_there(place: Place) -> None:
    write(place / "a.tar", "before")
    with pytest.raises(KeyError), written_aside(place / "a.tar") as aside:
        aside.write_text("half")
        raise KeyError
    assert (place / "a.tar").read_text() == "before" and [path.name for path in place.iterdir()] == ["a.tar"]


def test_where_a_put_grows_it_does_so_under_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = place_of(f"shelf:/{tmp_path}")
    write(place / "a.tar", "before")
    monkeypatch.setattr(Shelf, "breaks", True)
    with pytest.raises(StoreError, match=r"a\.tar: the line broke"):
        write(place / "a.tar", "after")
    assert (tmp_path / "a.tar").read_text() == "before"
    assert [path.name[:15] for path in tmp_path.iterdir() if path.match(files.PARTIAL_GLOB)] == [".a.tar.partial-"]


@pytest.mark.parametrize("status", [500, 503])
def test_a_put_that_fails_once_is_tried_again(store: ObjectStore, status: int) -> None:
    bucket = store.new_bucket()
    store.failing(status, "PUT", "a.tar", times=1)
    write(place_of(f"s3://{bucket}/a.tar"), "whole")
    assert store.content(bucket) == {"a.tar": b"whole"} and store.asked.count(f"PUT /{bucket}/a.tar") == 2


@pytest.mark.parametrize(("status", "stops"), [(500, False), (403, True), (404, True)])
def test_a_put_that_goes_on_failing_is_an_error_of_the_store(store: ObjectStore, status: int, stops: bool) -> None:
    bucket = store.new_bucket()
    store.failing(status, "PUT", "a.tar")
    with pytest.raises(StoreError, match=rf"^s3://{bucket}/a\.tar: made to fail") as error:
        write(place_of(f"s3://{bucket}/a.tar"), "whole")
    assert files.is_storage_error(error.value) is stops and store.content(bucket) == {}
    again = pickle.loads(pickle.dumps(error.value))
    assert (type(again), str(again), again.errno) == (StoreError, str(error.value), error.value.errno)
    with pytest.raises(UserError, match=rf"^s3://{bucket}/a\.tar: made to fail.*; see to it, then the same command continues$"), files.storage_named(place_of(f"s3://{bucket}")):
        raise error.value


def test_a_store_that_does_not_answer_has_not_said_no(store: ObjectStore) -> None:
    path = place_of(f"s3://{store.new_bucket()}/a.tar")
    store.failing(500, "HEAD", "")
    for ask in (path.exists, path.is_file, path.stat):
        with pytest.raises(StoreError):
            ask()


@pytest.mark.parametrize("big", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_put_is_one_step(store: ObjectStore, tmp_path: Path, big: bool) -> None:
    """Large ones go up in pieces that nobody sees until the last one is there."""
    bucket, source = store.new_bucket(), tmp_path / "a.tar"
    source.write_bytes(bytes(range(256)) * (2**19 if big else 40))
    seen = []
    store.fault = lambda method, path: seen.append(store_sizes(store, bucket)) if method in ("PUT", "POST") and "a.tar" in path else None
    place_of(f"s3://{bucket}/a.tar").put(source)
    assert len(seen) == (1 if not big else len(seen)) and not any(seen) and store_sizes(store, bucket) == {"a.tar": source.stat().st_size}


def test_pieces_of_a_large_put_go_up_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten at once, as s3fs has it, are half a gigabyte in each worker. Here ten pieces of 5 MB, of which not two are ever on their way."""
    folder = place_of("s3://bucket/x")
    source = tmp_path / "a.tar"
    source.write_bytes(bytes(50 * 2**20))
    at_once, most = 0, 0

    async def call(store: object, method: str, *_: object, **given: object) -> dict:
        nonlocal at_once, most
        if method == "upload_part":
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0)
            at_once -= 1
        return {"UploadId": "1", "ETag": "x", "ContentLength": source.stat().st_size, "LastModified": None}

    driver = folder.driver()[0]
    put = driver.put_file
    monkeypatch.setattr(type(driver), "_call_s3", call)
    monkeypatch.setattr(driver, "put_file", lambda *given, **options: put(*given, chunksize=5 * 2**20, **options))
    folder.put(source)
    assert most == 1


PUT = """
import re, sys
from pathlib import Path
from seqgen.places import place_of

def memory_kb(of):
    return int(re.search(rf"{of}:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

folder, small, large = place_of(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
(folder / "small").put(small)
Path("/proc/self/clear_refs").write_text("5")  # the peak begins here, see proc(5)
rest = memory_kb("VmRSS")
(folder / "large").put(large)
print(rest, memory_kb("VmHWM"))
"""


@pytest.mark.slow
def test_a_large_put_takes_little_memory(store: ObjectStore, tmp_path: Path) -> None:
    """Of a shard of 300 MB, in a process that has put a small one: the store is in another process, this one."""
    for name, size in (("small", 1000), ("large", 300_000_000)):
        with open(tmp_path / name, "wb") as file:
            file.truncate(size)
    bucket = store.new_bucket()
    words = [sys.executable, "-c", PUT, f"s3://{bucket}", str(tmp_path / "small"), str(tmp_path / "large")]
    rest_kb, most_kb = map(int, subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())
    assert store_sizes(store, bucket) == {"small": 1000, "large": 300_000_000}
    assert most_kb - rest_kb < 150_000


def store_sizes(store: ObjectStore, bucket: str) -> dict[str, int]:
    fault, store.fault = store.fault, lambda method, path: None
    try:
        return {entry["Key"]: entry["Size"] for entry in store.client().list_objects_v2(Bucket=bucket).get("Contents", [])}
    finally:
        store.fault = fault


# What is on its way


def test_what_a_dead_process_left_on_its_way_goes_at_once(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    place = place_of(f"s3://{store.new_bucket()}/a")
    lines = "import sys, os, signal; from seqgen import files, places\nwith files.written_aside(places.place_of(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    assert subprocess.run([sys.executable, "-c", lines, str(place)], env={**os.environ, "TMPDIR": str(tmp_path)}).returncode == -9
    [left] = tmp_path.iterdir()
    for other in ("seqgen-aside-old", "seqgen-aside-1-999999999-of-another-container", "seqgen-aside-x"):
        (tmp_path / other).mkdir()
    os.utime(tmp_path / "seqgen-aside-old", (0, 0))
    with written_aside(place) as aside:
        files.sweep_aside(3600.0)
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([aside.parent.name, "seqgen-aside-1-999999999-of-another-container", "seqgen-aside-x"])
        aside.write_text("x")
    assert not left.exists() and place.read_text() == "x"


def test_a_full_folder_for_temporary_files_is_what_is_named(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    place = place_of(f"s3://{store.new_bucket()}/clips")
    with pytest.raises(UserError, match=rf"^{tmp_path}: No space left on device; free some space, then"), files.storage_named(place), written_aside(place / "a.tar"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(UserError, match=rf"^{tmp_path}/clips: No space left on device; free some space"), files.storage_named(tmp_path / "clips"), written_aside(tmp_path / "x"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# URLs


@pytest.mark.parametrize("text", ["clips", "/data/clips", "s3:x", "exp:1/x", "a b", "C:\\clips", "./s3:/bucket/x"])
def test_anything_else_is_a_path_of_this_machine(text: str) -> None:
    assert place_of(text) == Path(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://bucket/clips/", "s3://bucket/clips"),
        ("S3://bucket//a//b", "s3://bucket/a/b"),
        ("gs://bucket", "gs://bucket"),
        ("s3://bucket/a@b/c:d", "s3://bucket/a@b/c:d"),
        ("abfs://box@account.dfs.core.windows.net/x", "abfs://***@account.dfs.core.windows.net/x"),
        ("ftp://user:pass@word@host:21/x", "ftp://***@host:21/x"),
        ("memory:///x/y", "memory:///x/y"),
    ],
)
def test_a_url_is_a_place_in_a_store(text: str, shown: str) -> None:
    place = place_of(text)
    assert isinstance(place, RemotePath) and str(place) == shown and pickle.loads(pickle.dumps(place)) == place and str(place / "a" / "../b") == f"{shown}/b"


def test_file_urls_are_folders() -> None:
    assert place_of("file:///data/clips") == Path("/data/clips") == place_of("local:///data/clips")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("s3:/bucket/clips", "no URL, which has a name, a colon and two slashes"),
        ("://bucket/clips", "no URL"),
        ("s3://", "names no bucket"),
        ("s3:///clips", "names no bucket"),
        ("gs:///", "names no bucket"),
        ("file://clips/a", "three slashes"),
        ("s3://bucket/../other", r"has \.\."),
        ("s3://bucket/clips?versionId=3", "choose plain names"),
        ("s3://bucket/*", "choose plain names"),
        ("simplecache::s3://bucket/x", "no URL|choose plain names"),
        ("s3://key:secret@bucket/x", "keys have no place in the URL"),
        ("s3://key:sec/ret@bucket/x", "keys have no place in the URL"),
        ("ftp://user:sec/ret@host/x", "keys have no place in the URL"),
        ("s3:/key:secret@bucket/x", "no URL"),
    ],
)
def test_a_malformed_url_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        place_of(text)
    assert "\n" not in str(error.value) and not {"secret", "sec/ret"} & set(re.split(r"[@:\s]", str(error.value)))


# The try before any work


def test_a_store_is_tried_and_left_as_it_was(place: Place) -> None:
    check_store(place)
    assert not (place / ".progress").exists() or list((place / ".progress").iterdir()) == []


def test_a_try_asks_about_its_own_file_alone(store: ObjectStore) -> None:
    """Beside the records of a million shards, which a listing would fetch, by every worker that opens."""
    bucket = store.new_bucket()
    write(place_of(f"s3://{bucket}/clips/.progress/train-000000.tar.json"), "{}")
    place, told = place_of(f"s3://{bucket}/clips"), []
    store_type = type(place.driver()[0])
    find = store_type.find
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_type, "find", lambda *given, **options: told.append(find(*given, **options)) or told[-1])
        patch.setattr(store_type, "ls", lambda *_, **__: pytest.fail("all is listed"))
        check_store(place)
    assert [".probe.partial-" in path for found in told for path in found] == [True]


def test_a_try_with_a_full_folder_for_temporary_files_says_so(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    place = place_of(f"s3://{store.new_bucket()}/clips")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"/clips: files are written to the folder for temporary ones first, which takes none \(No space left on device\)"):
        check_store(place)


def test_what_may_pass_is_no_fault_of_the_users(store: ObjectStore) -> None:
    bucket = store.new_bucket()
    store.failing(503, "PUT", "probe")
    with pytest.raises(StoreError) as error:
        try_store(place_of(f"s3://{bucket}/clips"))
    assert not files.is_storage_error(error.value)
    store.failing(403, "PUT", "probe")
    with pytest.raises(UserError, match="give this account the rights"):
        try_store(place_of(f"s3://{bucket}/clips"))


@pytest.mark.parametrize("url", ["ftp://127.0.0.1:9/x", "zip://archive/x", "blockcache://a/b", "reference://a/b", "arrow_hdfs://127.0.0.1:9/x"])
def test_a_driver_that_does_not_start_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(UserError, match=rf"^{url}: no place for a data set \(.*; see that the address is right|^{url}: needs a driver that is not installed") as error:
        check_store(place_of(url))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("status", "method", "words"),
    [
        (403, "PUT", "AccessDenied.*; give this account the rights to put, list, read and remove"),
        (403, "GET", "; give this account the rights"),
        (403, "DELETE", "; give this account the rights"),
        (500, "PUT", "InternalError.*; see that the address is right"),
    ],
)
def test_a_store_that_lacks_something_is_refused_in_one_line(store: ObjectStore, status: int, method: str, words: str) -> None:
    bucket = store.new_bucket()
    store.failing(status, method, "bucket")
    with pytest.raises(UserError, match=rf"^s3://{bucket}/clips: no place for a data set \(.*{words}") as error:
        check_store(place_of(f"s3://{bucket}/clips"))
    assert "\n" not in str(error.value)


def test_a_missing_bucket_is_named(store: ObjectStore) -> None:
    told = r"^s3://no-such-bucket/clips: no place for a data set \(The specified bucket does not exist\); make the bucket first, or choose another --out$"
    with pytest.raises(UserError, match=told):
        check_store(place_of("s3://no-such-bucket/clips"))


def test_nobody_at_home_is_named(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(UserError, match=r"^s3://bucket/clips: no place for a data set \(.*127\.0\.0\.1:9.*see that the address is right") as error:
        check_store(place_of("s3://bucket/clips"))
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("protocol", "words"), [("s3", r"pip install 'seqgen\[s3\]'$"), ("gs", r"pip install 'seqgen\[gcs\]'$"), ("abfs", "Install adlfs .*")])
def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch, protocol: str, words: str) -> None:
    for module in ("s3fs", "gcsfs", "adlfs"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, protocol, raising=False)  # it may have been loaded before
    with pytest.raises(UserError, match=rf"^{protocol}://bucket/clips: needs a driver that is not installed; {words}") as error:
        check_store(place_of(f"{protocol}://bucket/clips"))
    assert "\n" not in str(error.value)


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(UserError, match=r"^teleport://bucket/clips: no store is known by teleport://"):
        check_store(place_of("teleport://bucket/clips"))


def test_no_message_holds_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    class Talkative(Shelf):
        def makedirs(self, path: str, exist_ok: bool = False) -> None:
            raise ConnectionError("cannot join talk://user:hunter2@host/x as user with hunter2\nat all")

    fsspec.register_implementation("talk", Talkative, clobber=True)
    with pytest.raises(UserError) as error:
        check_store(place_of("talk://user:hunter2@host/x"))
    assert "hunter2" not in str(error.value) and "\n" not in str(error.value) and str(error.value).startswith("talk://***@host/x: ")
    assert "hunter2" not in repr(place_of("talk://user:hunter2@host/x"))


def test_folders_need_no_fsspec(tmp_path: Path) -> None:
    lines = (
        "import sys, pathlib",
        "from seqgen.files import file_digest, write_text",
        "from seqgen.places import check_store, place_of",
        "import seqgen.dataset, seqgen.dataset.hold",
        "place = place_of(f'file://{sys.argv[1]}')",
        "check_store(place)",
        "write_text(place / 'a', 'x')",
        "file_digest(place / 'a')",
        "print('fsspec' in sys.modules)",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines), str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
