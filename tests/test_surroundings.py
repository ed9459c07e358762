"""Where a command may run: homes, locales, names of files, streams, limits, forks and threads. The bytes are those of an undisturbed run, and nothing hangs.

Each run of the command costs seconds, so many circumstances meet in one; `pytest -m slow` has each of them alone.
"""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from runs import content, small_config
from threadpoolctl import threadpool_info

from seqgen.cli import run
from seqgen.dataset.encoding import encode_sequence
from seqgen.errors import UserError
from seqgen.files import cache_folder, plain_temporary_folder
from seqgen.hand.fit import SHIPPED
from seqgen.pipeline.assets import Assets, gather_assets
from seqgen.pipeline.generate import Sources, generate_sequence, open_sources
from seqgen.pipeline.process import Turns, keep_memory, one_thread, return_memory
from seqgen.poses import load_built_in_bank

COMMAND = [sys.executable, "-c", "from seqgen.cli import main; main()"]
TINY = "--sequences 2 --clip.frames 2 --clip.size 64,48 --poses.rows 1500 --split.val 0 --split.test 0 --output.preview 0".split()
ODD = "a b ü é 手 🤚 \"q\" 'q' 100% %41 %s #x $HOME `id` [a] {b} & ; * ? \\ -dash"  # a folder's name
LONG = "l" * 120  # longer than the 107 bytes that a socket's name may have
NOBODY = 54321  # a user that no list of users has
AS_NOBODY = f"setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --inh-caps=+dac_read_search --ambient-caps=+dac_read_search".split()  # may read all


@dataclass(frozen=True)
class Circumstance:
    """What is different from an undisturbed run. `{tmp}` in a value is the test's own folder; `unset` are variables, `before` runs in the process, first."""

    variables: dict[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    before: Callable[[], object] | None = None
    out: str = "out"
    workers: int = 0


def closing(*streams: int) -> Callable[[], None]:
    return lambda: [os.close(stream) for stream in streams] and None


OWN_CACHE = ("SEQGEN_CACHE", "XDG_CACHE_HOME")
ASCII = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
CIRCUMSTANCES = {
    "no home": Circumstance({"XDG_CACHE_HOME": "{tmp}/xdg"}, ("HOME", "SEQGEN_CACHE")),
    "a home that is not there": Circumstance({"HOME": "{tmp}/none/at/all"}, OWN_CACHE),
    "a home that is read-only": Circumstance({"HOME": "{tmp}/locked"}, OWN_CACHE),
    "an empty SEQGEN_CACHE": Circumstance({"HOME": "{tmp}", "SEQGEN_CACHE": ""}, ("XDG_CACHE_HOME",)),
    "a cache of an odd name": Circumstance({"SEQGEN_CACHE": "{tmp}/" + ODD}),
    "the locale C": Circumstance({"LC_ALL": "C"}, out=ODD),
    "the locale POSIX, as it is": Circumstance(ASCII),
    "a locale that is not installed": Circumstance({"LC_ALL": "xx_YY.UTF-8", "LANG": "xx_YY"}, out=ODD),
    "decimal commas": Circumstance({"LC_NUMERIC": "de_DE.UTF-8"}),
    "output in ASCII": Circumstance({"PYTHONIOENCODING": "ascii"}, out=ODD),
    "an odd time zone": Circumstance({"TZ": "Nowhere/At-All+99"}),
    "threads and hashes": Circumstance({"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "MKL_DYNAMIC": "FALSE", "PYTHONHASHSEED": "7"}),
    "an odd folder": Circumstance(out=ODD),
    "a long path": Circumstance(out=f"{LONG}/{LONG}/{LONG}"),
    "a long temporary folder": Circumstance({"TMPDIR": "{tmp}/" + LONG}, workers=1),
    "a temporary folder of an odd name": Circumstance({"TMPDIR": "{tmp}/" + ODD}, workers=1),
    "no standard input": Circumstance(before=closing(0)),
    "no standard output": Circumstance(before=closing(1)),
    "no standard streams": Circumstance(before=closing(0, 1, 2), workers=1),
    "umask 077": Circumstance(before=lambda: os.umask(0o077), workers=1),
    "umask 000": Circumstance(before=lambda: os.umask(0)),
}


def together(*names: str, **changes: object) -> Circumstance:
    """Several circumstances at once."""
    chosen = [CIRCUMSTANCES[name] for name in names]
    first = [one.before for one in chosen if one.before]
    variables = {name: value for one in chosen for name, value in one.variables.items()}
    merged = {"variables": variables, "unset": tuple({name for one in chosen for name in one.unset} - set(variables)), "before": lambda: [act() for act in first]}
    return Circumstance(**{**merged, **changes})


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of the undisturbed run. After it, our cache has all that the others need."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert run(["generate", "--out", str(out), "--workers", "0", *TINY]) == 0
    return content(out)


def give_caches(tmp: Path) -> None:
    """What is in our cache, where the commands of these circumstances will look for it: it need not be made each time."""
    for folder in (tmp / "xdg" / "seqgen", tmp / ".cache" / "seqgen", tmp / f"seqgen-cache-{os.getuid()}", tmp / LONG / f"seqgen-cache-{os.getuid()}"):
        shutil.copytree(cache_folder(), folder)
        folder.chmod(0o700)


def call(tmp: Path, circumstance: Circumstance, *words: str, prefix: tuple[str, ...] = (), **options: object) -> subprocess.CompletedProcess:
    """`seqgen generate` in a process of its own."""
    for name in ("locked", ODD, LONG):
        (tmp / name).mkdir(exist_ok=True)
    (tmp / "locked").chmod(0o555)
    given = {"TMPDIR": str(tmp), **os.environ} | {name: value.replace("{tmp}", str(tmp)) for name, value in circumstance.variables.items()}
    environment = {name: value for name, value in given.items() if name not in circumstance.unset}
    arguments = ["generate", "--out", str(tmp / circumstance.out / "set"), "--workers", str(circumstance.workers), *TINY, *words]
    told = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 120} | options
    return subprocess.run([*prefix, *COMMAND, *arguments], env=environment, preexec_fn=circumstance.before, check=False, **told)


def check(tmp: Path, circumstance: Circumstance, expected: dict[str, bytes], **options: object) -> None:
    """The run goes well, says nothing on standard error, leaves a read-only home alone, and has the expected bytes."""
    ended = call(tmp, circumstance, **options)
    assert ended.returncode == 0 and not ended.stderr, ended.stderr.decode(errors="replace")
    assert content(tmp / circumstance.out / "set") == expected
    assert not list((tmp / "locked").iterdir())


def test_a_read_only_home_and_a_bare_locale(tmp_path: Path, expected: dict[str, bytes]) -> None:
    give_caches(tmp_path)
    told = ("a home that is read-only", "the locale POSIX, as it is", "output in ASCII", "an odd time zone", "no standard input", "umask 077", "a long path")
    check(tmp_path, together(*told, out=CIRCUMSTANCES["a long path"].out), expected)


def test_odd_names_and_other_variables(tmp_path: Path, expected: dict[str, bytes]) -> None:
    """Standard output is a pipe that nobody reads, as after `| head -1`."""
    give_caches(tmp_path)
    read, write = os.pipe()
    os.close(read)
    told = ("no home", "a locale that is not installed", "decimal commas", "threads and hashes", "umask 000")
    (tmp_path / ODD).mkdir()
    check(tmp_path, together(*told, out=ODD), expected, stdout=write, cwd=tmp_path / ODD)
    os.close(write)


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("setpriv") is None, reason="only root becomes another user, by setpriv")
def test_a_user_without_name_and_home(tmp_path: Path, expected: dict[str, bytes]) -> None:
    """May write to nothing but the folder for its data set and the temporary one. HOME is root's."""
    for folder in (tmp_path / "out", tmp_path / "temporary"):
        folder.mkdir()
        folder.chmod(0o777)
    shutil.copytree(cache_folder(), tmp_path / "temporary" / f"seqgen-cache-{NOBODY}")
    subprocess.run(["chown", "-R", str(NOBODY), str(tmp_path / "temporary" / f"seqgen-cache-{NOBODY}")], check=True)
    check(tmp_path, Circumstance({"TMPDIR": "{tmp}/temporary", "HOME": "/root"}, OWN_CACHE, closing(0, 1)), expected, prefix=tuple(AS_NOBODY))


@pytest.mark.parametrize("starts", [["fork"], pytest.param(["fork", "spawn"], marks=pytest.mark.slow)])
def test_forks_and_ray_where_the_temporary_folder_is_long_and_odd(starts: list[str], tmp_path: Path, expected: dict[str, bytes]) -> None:
    """Also Ray's own: its sockets have short names of plain letters whatever TMPDIR is."""
    temporary = tmp_path / ODD
    temporary.mkdir()
    assert run(["generate", "--out", str(tmp_path / "clips" / ODD), "--workers", "0", *TINY]) == 0
    script = [sys.executable, str(Path(__file__).parent / "forks.py"), str(tmp_path / "clips" / ODD), str(tmp_path / "out"), *starts]
    variables = {**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "2"}
    variables.pop("HOME", None)
    (tmp_path / "out").mkdir()
    ended = subprocess.run(script, env=variables, capture_output=True, text=True, timeout=300, check=False)
    steps = (tmp_path / "out" / "steps").read_text(encoding="utf-8").splitlines()
    assert steps == ["in_a_fork", "in_a_process", *(f"a DataLoader by {start}" for start in starts), "Ray", "again"] and not ended.returncode, ended.stderr


def test_inputs_of_odd_names(tmp_path: Path) -> None:
    """Config, bank, encoder and photos in an odd folder, against the same in a plain one: the shards are the same."""
    shards = []
    for name in ("plain", ODD):
        folder = tmp_path / name
        (folder / "photos").mkdir(parents=True)
        np.savez(folder / "poses.npz", joints_m=load_built_in_bank(1500).joints_m[:300])
        shutil.copyfile(SHIPPED, folder / "encoder.safetensors")
        Image.fromarray(np.arange(200 * 300 * 3, dtype=np.uint64).reshape(200, 300, 3).astype(np.uint8)).save(folder / "photos" / "ü 手 'q' %s.png")
        (folder / "config.toml").write_text("[clip]\nframes = 2\nsize = [64, 48]\n", encoding="utf-8")
        given = ["--poses.bank", folder / "poses.npz", "--poses.format", "npz", "--hand.encoder", folder / "encoder.safetensors", "--background.folder", folder / "photos"]
        words = "--workers 0 --sequences 1 --split.val 0 --split.test 0 --output.preview 1".split()
        assert run(["generate", str(folder / "config.toml"), "--out", str(folder / "out"), *map(str, given), *words]) == 0
        assert (folder / "out" / "preview.png").is_file()
        shards.append({path.name: path.read_bytes() for path in (folder / "out" / "shards").iterdir()})
    assert shards[0] == shards[1]


def test_a_working_folder_that_is_gone_or_locked(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    ended = call(tmp_path, Circumstance(before=lambda: (os.chdir(tmp_path / "gone"), os.rmdir(tmp_path / "gone"))))
    assert ended.returncode == 2 and ended.stderr == b"seqgen: the current folder has been removed; change to one that is there\n"
    ended = subprocess.run([*COMMAND, "generate", "--workers", "0", *TINY], cwd="/proc", capture_output=True, check=False)  # where no folder can be made, by root neither
    assert ended.returncode == 2 and ended.stderr.startswith(b"seqgen: outputs/quickstart: ") and ended.stderr.count(b"\n") == 1


def test_a_cache_that_cannot_be_kept_is_one_line() -> None:
    """Nothing can be made in /proc, by root neither; and the locale says how a folder's name is read, but Warp does not listen."""
    script = [sys.executable, "-c", "from seqgen.render.device import open_device; open_device('cpu')"]
    ended = subprocess.run(script, env={**os.environ, "SEQGEN_CACHE": "/proc/none"}, capture_output=True, text=True, check=False)
    assert ended.stderr.splitlines()[-1].startswith("seqgen.errors.UserError: /proc/none/warp: compiled kernels cannot be kept there (No such file or directory); set SEQGEN_CACHE")
    ended = subprocess.run(script, env={**os.environ, **ASCII, "SEQGEN_CACHE": "/proc/ü"}, capture_output=True, text=True, check=False)
    assert "set PYTHONUTF8=1" in ended.stderr.splitlines()[-1]


def test_a_temporary_cache_is_ours_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept there is trusted: a folder that others may have filled is refused."""
    for name in OWN_CACHE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/proc/none")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    folder = cache_folder()
    assert folder.parent == tmp_path and folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(UserError, match="only this user"):
        cache_folder()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(UserError, match="only this user"):
        cache_folder()
    folder.unlink()
    folder.write_text("a file")  # nothing can be kept in it; who needs a place says so
    assert cache_folder() == folder


@pytest.mark.parametrize(
    ("named", "chosen"),
    [("{tmp}", True), ("{tmp}/none", True), ("{tmp}/" + LONG, False), ("{tmp}/ü", False), ("{tmp}/q'", False), ("relative", False), ("/proc/x", False)],
)
def test_a_plain_temporary_folder(named: str, chosen: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = named.replace("{tmp}", str(tmp_path))
    monkeypatch.setenv("TMPDIR", named)
    found = plain_temporary_folder(("NOT_SET", "TMPDIR"), len(str(tmp_path)) + 5)
    assert (found == Path(named)) == chosen and (chosen or found in map(Path, ("/tmp", "/var/tmp", "/dev/shm")))
    with pytest.raises(UserError, match="set TMPDIR to one"):
        plain_temporary_folder(("NOT_SET", "TMPDIR"), 3)


# Threads


SMALLEST = small_config(clip={"frames": 2, "size": (64, 48)})


@pytest.fixture(scope="module")
def assets() -> Assets:
    with one_thread():
        return gather_assets(SMALLEST)


def in_threads(work: Callable[[int], object], number: int = 2) -> list[object]:
    """What `work(0)`, `work(1)`, ... return, each in a thread of its own, at the same time."""
    results: list[object] = [None] * number
    start = threading.Barrier(number)

    def one(place: int) -> None:
        start.wait()
        results[place] = work(place)

    threads = [threading.Thread(target=one, args=(place,)) for place in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def clips(sources: Sources) -> list[list[tuple[str, bytes]]]:
    return [encode_sequence(generate_sequence(index, sources, SMALLEST), jpeg_quality=95) for index in range(4)]


@pytest.mark.parametrize(("shared", "limited"), [(True, False), (False, True), (False, False)])
def test_threads_make_the_clips_that_one_makes(assets: Assets, shared: bool, limited: bool) -> None:
    """Each with Sources of its own or all with the same; each in its `one_thread` block or all in one."""
    alone = open_sources(assets, SMALLEST)

    def work(place: int) -> object:
        sources = alone if shared else open_sources(assets, SMALLEST)
        if not limited:
            return clips(sources)
        with one_thread():
            return clips(sources)

    if limited:
        made = in_threads(work)
    with one_thread():
        made = made if limited else in_threads(work)
        expected = clips(alone)
    assert all(found == expected for found in made)


def test_overlapping_blocks_of_one_thread_give_the_libraries_back() -> None:
    """In every block all libraries have one thread, whichever Python thread it is in; after the last one what they had."""

    def counts() -> list[int]:
        return [torch.get_num_threads(), *(library["num_threads"] for library in threadpool_info())]

    def work(place: int) -> list[list[int]]:
        found = []
        for _ in range(20):
            with one_thread(), one_thread():
                found.append(counts())
        return found

    before = counts()
    assert {number for found in in_threads(work) for inside in found for number in inside} == {1}
    assert counts() == before


def test_a_fork_does_not_wait_for_a_thread_of_its_parent() -> None:
    turns, taken, done = Turns(), threading.Event(), threading.Event()

    def hold() -> None:
        with turns.take():
            taken.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait()
    child = os.fork()
    if not child:
        with turns.take():
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    done.set()
    holder.join()
    with turns.take(), turns.take():
        pass


@pytest.mark.parametrize(("platform", "there", "told"), [("linux", True, [(0,), (-1, 2**28), (-3, 2**25)]), ("linux", False, []), ("win32", True, [])])
def test_memory_goes_back_and_stays_where_the_c_library_knows_how(platform: str, there: bool, told: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    """glibc, a library without the function, and Windows, where even the question is refused."""
    asked: list[tuple[int, ...]] = []

    def library(name: str | None) -> SimpleNamespace:
        if platform == "win32":
            raise TypeError("argument of type 'NoneType' is not iterable")
        return SimpleNamespace(**(dict.fromkeys(("malloc_trim", "mallopt"), lambda *arguments: asked.append(arguments)) if there else {}))

    monkeypatch.setattr("seqgen.pipeline.process.ctypes.CDLL", library)
    with monkeypatch.context() as here:
        here.setattr("sys.platform", platform)
        return_memory()
        keep_memory()
    assert asked == told


# Each alone


@pytest.mark.slow
@pytest.mark.parametrize("name", CIRCUMSTANCES)
def test_each_circumstance_alone(name: str, tmp_path: Path, expected: dict[str, bytes]) -> None:
    check(tmp_path, CIRCUMSTANCES[name], expected)


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_reader_that_leaves(after: int, tmp_path: Path, expected: dict[str, bytes]) -> None:
    """`seqgen generate | head -N`: the data set is made all the same."""
    arguments = ["generate", "--out", str(tmp_path / "set"), "--workers", "0", *TINY]
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(after):
            process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == "" and process.wait(120) == 0
    assert content(tmp_path / "set") == expected


@pytest.mark.slow
def test_a_cold_start_everywhere(tmp_path: Path, expected: dict[str, bytes]) -> None:
    """Nothing in any cache, and nowhere to keep it but the temporary folder."""
    check(tmp_path, together("a home that is read-only", "umask 000"), expected)
