"""Measuring: the stages that are timed are those that make data, sums and ratios are what they say, memory counts what is shared once, mistakes are one line."""

import errno
import json
import mmap
import os
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from runs import small_config
from scenes import blob_scene, make_background, make_camera, make_scene, quad, renderer_or_skip

from seqgen.cli import run
from seqgen.cli.benching import table
from seqgen.errors import UserError
from seqgen.pipeline.assets import gather_assets
from seqgen.pipeline.bench.memory import MemoryWatch, descendants, tree_memory
from seqgen.pipeline.bench.report import Against, Report
from seqgen.pipeline.bench.rival import Agreement, Comparison, Rival, check_comparable
from seqgen.pipeline.bench.run import WholeRun, speed_config, start_config, whole_run
from seqgen.pipeline.bench.stages import STAGE_NAMES, StageTimes, time_stages
from seqgen.pipeline.generate import STAGES, generate_sequences, open_sources
from seqgen.scene.scene import plain_material

MB = 1e6
SMALL = ["--workers", "0", "--clip.frames", "2", "--clip.size", "32", "32", "--poses.rows", "1500", "--split.val", "0", "--split.test", "0"]


# ---- stages ----


def test_what_is_timed_is_what_makes_data():
    config, seen = small_config(clip={"frames": 2, "size": (32, 32)}), []
    sources = open_sources(gather_assets(config, lambda line: None), config)
    times = time_stages(sources, config, clips=10, rounds=2, watch=lambda name, before, after: seen.append((name, before, after)))
    a_round = [name for name, _, _ in seen[: len(seen) // 2]]
    assert a_round == [*STAGES] * (len(a_round) // len(STAGES)) and [name for name, _, _ in seen] == a_round * 2
    made = [sequence for name, _, after in seen[: len(a_round)] if name == "labels" for sequence in after]
    for ours, theirs in zip(made, generate_sequences(range(10), sources, config), strict=True):
        assert ours.key == theirs.key and np.array_equal(ours.rgb, theirs.rgb) and np.array_equal(ours.depth_tenth_mm, theirs.depth_tenth_mm)
    assert tuple(times.rounds) == STAGE_NAMES == (*STAGES, "encode", "write")
    assert all(len(values) == 2 for values in times.rounds.values()) and min(times.rounds["render"]) > 0


def test_a_stage_counts_its_median_and_all_of_them_their_sum():
    times = StageTimes({"flow": [1.0, 9.0, 2.0], "render": [4.0, 3.0, 5.0]})
    assert times.median_ms() == {"flow": 2.0, "render": 4.0}
    assert times.total_ms() == 6.0 and times.frames_per_s() == pytest.approx(1000 / 6)


# ---- whole runs ----


def test_speed_counts_from_when_all_workers_are_at_work():
    """Two workers that begin at 10 s, 100 frames in 2 s each: 100 frames a second, whatever the start took."""
    shards = [(10.0 + 2 * (number // 2 + 1), 100 * (number + 1)) for number in range(10)]
    assert WholeRun(2, shards, 0.0, {}).frames_per_s == pytest.approx(100)
    assert WholeRun(2, shards, 0.0, {}).first_shard_s == 12
    assert WholeRun(0, [(11.0 + 2 * n, 100 * (n + 1)) for n in range(3)], 0.0, {}).frames_per_s == pytest.approx(50)
    assert np.isnan(WholeRun(1, [(5.0, 100)], 0.0, {}).frames_per_s)


def test_a_run_whose_speed_is_measured_has_whole_shards_for_each_worker():
    config = small_config(workers=3, camera={"views": 2})
    speed = speed_config(config, clips=5, shards=4)
    assert speed.output.sequences_per_shard == 6 and speed.sequences == 6 * 4 * 3  # a motion's two cameras stay together
    assert start_config(config).sequences == 2 * 3
    assert replace_none(speed) == replace_none(config)


@pytest.mark.parametrize(
    ("fields", "clips", "shards", "complaint"),
    [
        ({}, 100_000, 1, None),
        ({}, 100_001, 1, "--clips 100001.*sequences_per_shard = 100001.*less than or equal to 100000"),
        ({"camera": {"views": 7}}, 100_000, 1, "sequences_per_shard = 100002"),
        ({}, 100_000, 1000, None),
        ({}, 100_000, 1001, "sequences = 100100000.*less than or equal to 100000000"),
    ],
)
def test_a_run_larger_than_a_data_set_may_be_is_the_users_mistake(fields, clips, shards, complaint):
    config = small_config(workers=1, **({"sequences": 7} | fields))
    if complaint is None:
        assert speed_config(config, clips=clips, shards=shards).sequences == clips * shards
        return
    with pytest.raises(UserError, match=complaint) as raised:
        speed_config(config, clips=clips, shards=shards)
    assert "\n" not in str(raised.value)


def test_the_start_of_more_workers_than_a_data_set_has_clips_for():
    config = small_config(workers=1001)
    with pytest.raises(UserError, match=r"1001 workers: sequences = 100100000"):
        start_config(config.model_copy(update={"output": config.output.model_copy(update={"sequences_per_shard": 100_000})}))


def test_a_mistake_that_the_run_finds_is_told_as_it_is(tmp_path):
    with pytest.raises(UserError, match="MANO") as raised:
        whole_run(small_config(hand={"kind": "mano", "mano_dir": str(tmp_path)}))
    assert "\n" not in str(raised.value)


def test_a_run_that_does_not_even_begin_says_why(monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with pytest.raises(RuntimeError, match=r"(?s)exit code 1:.*nowhere"):
        whole_run(small_config())


def replace_none(config):
    """What of a config is left as it is."""
    return config.model_copy(update={"sequences": 2, "output": None})


# ---- memory ----

HOLDER = """
import mmap, os, sys, time
size = 64_000_000
def hold():
    file = open(sys.argv[1], "rb")
    shared, own = mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ), bytearray(size)
    own[::4096] = b"x" * len(own[::4096]); sum(shared[::4096])
    os.write(1, b"x")
    time.sleep(600)
if os.fork() == 0:
    hold()
hold()
"""


def test_memory_of_a_tree_counts_what_is_shared_once(tmp_path):
    """A process and its child hold 64 MB each of their own, and 64 MB of one file."""
    file = tmp_path / "shared"
    file.write_bytes(bytes(64_000_000))
    with open(file, "rb") as opened, subprocess.Popen([sys.executable, "-c", HOLDER, str(file)], stdout=subprocess.PIPE) as holder:
        try:
            with mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ):  # mapped and not looked at: counts nothing
                assert holder.stdout.read(2) == b"xx"
                own, child = sorted(descendants(holder.pid), key=lambda process: process != holder.pid)
                found = {process: (kind, megabytes) for kind, process, megabytes in tree_memory(holder.pid)}
        finally:
            for process in descendants(holder.pid):
                subprocess.run(["kill", "-9", str(process)], check=True)
    assert found.keys() == {own, child} and found[own][0] == "driver"
    total = sum(megabytes for _, megabytes in found.values())
    assert 3 * 64 <= total < 3 * 64 + 40  # two interpreters beside


def test_the_peak_is_the_largest_sum(monkeypatch):
    sums = iter([[("driver", 1, 10.0)], [("driver", 1, 20.0), ("worker", 2, 30.0), ("worker", 3, 5.0)], [("driver", 1, 40.0)]])
    done = []

    def sample(pid):
        rows = next(sums, None)
        done.append(rows)
        return rows or []

    monkeypatch.setattr("seqgen.pipeline.bench.memory.tree_memory", sample)
    with MemoryWatch(1, every_s=0.0) as memory:
        while None not in done:
            pass
    assert len(memory.took_s) == len(done) and memory.peak_mb == 55 and memory.parts_mb == {"driver": 20.0, "worker": 35.0}


# ---- against pyrender ----


def test_ratios_are_of_one_round_and_the_whole_differs_by_the_render_stage():
    times = StageTimes({"scene": [4.0, 4.0, 4.0], "render": [1.0, 2.0, 4.0], "encode": [3.0, 2.0, 0.0]})
    compared = Comparison([10.0, 10.0, 10.0], Agreement(1.0, 0.0, 0.0, 1.0))
    assert compared.ratio_render(times) == 5.0  # of 10, 5 and 2.5
    assert compared.ratio_whole(times) == pytest.approx(16 / 8)  # of 17 / 8, 16 / 8, 14 / 8


@pytest.mark.parametrize("agreement", [Agreement(0.9, 0.0, 0.0, 1.0), Agreement(1.0, 1.0, 1.0, 1.0)])
def test_renderers_that_draw_different_things_are_not_compared(agreement):
    with pytest.raises(RuntimeError, match="different things"):
        agreement.check()


WAYS = ["pyrender_public.open_public", "pyrender_fed.open_fed"]


def rival_or_skip(way):
    renderer_or_skip("pyrender")
    module, _, name = way.partition(".")
    return getattr(import_module(f"seqgen.render.{module}"), name)()


@pytest.mark.parametrize("kind", ["perspective", "weak_perspective"])
@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("way", WAYS)
def test_a_rival_draws_what_the_others_draw(way, kind, samples):
    """Masks and depth at pixel centres; the part label of each face's middle."""
    ours, fed = renderer_or_skip("warp"), rival_or_skip(way)
    for seed in (0, 1, 0):  # what was drawn before does not matter
        scene = replace(blob_scene(seed, kind, frames=3), samples=samples, shutter=0.0)
        told, seen = ours.render(scene), fed.render(scene)
        hit, theirs = told.depth_m > 0, seen.depth_m > 0
        assert (hit & theirs).sum() / (hit | theirs).sum() > 0.999 and hit.sum() > 100
        assert np.quantile(np.abs(told.depth_m - seen.depth_m)[hit & theirs], 0.99) < 1e-4
        assert seen.rgb.shape == (*hit.shape, 3) and not seen.parts[~theirs].any()
        assert set(np.unique(seen.parts)) <= {0, *np.unique(scene.surface.corner_parts)}


@pytest.mark.parametrize("kind", ["perspective", "weak_perspective"])
@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("way", WAYS)
def test_a_rival_labels_centres_and_covers_its_photo(way, samples, kind):
    """Two triangles of unlike parts whose edge runs between pixels' centres, in plain light: every label and colour is known."""
    camera = make_camera(kind, focal=80.0, centre=(32.0, 24.0))
    vertices, faces = quad((-0.2, 0.2), (-0.1, 0.1), 1.0)  # moved by half a pixel, so that edges run between centres
    vertices[:, :2] += 0.5 / 80
    scene = make_scene(vertices, faces, camera, parts=[[3] * 3, [7] * 3], materials=(plain_material((200, 180, 160)),), samples=samples)
    scene = replace(scene, background=make_background(photo=np.full((80, 80, 3), 90, np.uint8)))
    seen = rival_or_skip(way).render(scene)
    y, x = np.mgrid[:48, :64]
    inside = (x > 16) & (x <= 48) & (y > 16) & (y <= 32)
    upper = (y - 16.5) / 16 < (x - 16.5) / 32
    assert np.array_equal(seen.parts[0], np.where(inside, np.where(upper, 3, 7), 0))
    assert np.array_equal(seen.depth_m[0] > 0, inside) and np.abs(seen.depth_m[0][inside] - 1).max() < 1e-4
    deep = (x > 17) & (x < 48) & (y > 17) & (y < 32)
    assert (seen.rgb[0][deep] == [200, 180, 160]).all() and (seen.rgb[0][~inside & ((y < 16) | (y > 33) | (x < 16) | (x > 49))] == 90).all()


def test_a_rival_looks_at_the_first_round_and_times_all():
    still = np.ones((1, 2, 2), np.float32)
    ours, clip = SimpleNamespace(frames=SimpleNamespace(depth_m=still, parts=still)), SimpleNamespace(stage=SimpleNamespace(scene=3))
    rival = Rival(lambda scene: SimpleNamespace(depth_m=still, parts=still * (scene - 2)))
    for _ in range(2):
        rival.seconds.append(0.0)
        rival.time([clip, clip], [ours, ours])
    assert len(rival.seen) == 2 and len(rival.seconds) == 2 and min(rival.seconds) > 0
    assert rival.agreement() == Agreement(1.0, 0.0, 0.0, 1.0)


def test_both_ratios_stand_beside_the_others():
    """`ratio_render` is that of the public interface, and the stricter one is not hidden."""
    public, beneath = (Against(ms, ms / 2, ms / 4, Agreement(1.0, 0.0, 0.0, 1.0)) for ms in (20.0, 12.0))
    report = Report({"render": 2.0}, 1, 1.0, 1.0, 1, 1.0, None, 1.0, {}, 1, 1, public, beneath)
    told = report.as_dict()
    assert (told["ratio_render"], told["ratio_whole"], told["ratio_render_beneath"], told["ratio_whole_beneath"]) == (10, 5, 6, 3)
    said = table(report)
    assert "by its public interface: 20.000 ms a frame; the render stage is 10.00 times" in said and "by its inner parts too: 12.000" in said


# ---- the command ----


@pytest.mark.parametrize(
    "fields",
    [{"render": {"samples": 3}}, {"render": {"shutter": (0.5, 0.5)}}, {"labels": {"optical_flow": True}}, {"device": "cuda"}, {"render": {"renderer": "pyrender"}}],
)
def test_what_pyrender_cannot_draw_is_not_compared(fields):
    with pytest.raises(UserError, match="--against pyrender"):
        check_comparable(small_config(**fields))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["everything"], "no such measurement"),
        (["generate", "--clips", "0"], "at least 1"),
        (["generate", "--clips", "200000"], "--clips 200000.*less than or equal to 100000"),
        (["generate", "--rounds", "9" * 30], "sequences = .*less than or equal to 100000000"),
        (["generate", "--rounds", "x"], "--rounds"),
        (["generate", "--workers", "-1"], "workers.*greater than or equal to 0"),
        (["generate", "--against", "blender"], "pyrender"),
        (["generate", "--json", "/proc/none/x.json"], "/proc/none"),
        (["generate", "--json", "."], "is a folder"),
        (["generate", "--json", "/dev/null"], "something else than a file"),
        (["generate", "--json", f"{__file__}/x.json"], "Not a directory"),
        (["generate", "--json", "x" * 300], "too long"),
        (["generate", "--clip.frame", "3"], "frame"),
        (["generate", "nowhere"], "no such config"),
        (["generate", "--device", "cuda"], "looked for"),
    ],
)
def test_a_mistake_is_told_before_anything_is_measured(words, complaint, monkeypatch):
    monkeypatch.setattr("seqgen.pipeline.bench.report.gather_assets", lambda *told: pytest.fail("work has begun"))
    with pytest.raises(UserError, match=complaint):
        run(["bench", *words])


def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr("seqgen.pipeline.bench.report.measure", lambda *told, **more: pytest.fail("work has begun"))
    (tmp_path / "mine.json").write_text("mine")
    (tmp_path / "mine.json").chmod(0o444)
    with pytest.raises(UserError, match=r"mine\.json: is write-protected"):
        run(["bench", "generate", "--json", str(tmp_path / "mine.json")])
    assert (tmp_path / "mine.json").read_text() == "mine"


def test_a_folder_for_temporary_files_that_is_full(monkeypatch):
    monkeypatch.setattr("seqgen.pipeline.bench.stages.write_shard", full_disk)
    with pytest.raises(UserError, match="No space left on device; free some space, then try again"):
        run(["bench", "generate", "--clips", "2", "--rounds", "1", *SMALL])


def test_no_folder_for_temporary_files(monkeypatch):
    monkeypatch.setattr("seqgen.cli.benching.gettempdir", lambda: (_ for _ in ()).throw(FileNotFoundError(errno.ENOENT, "none")))
    with pytest.raises(UserError, match="set TMPDIR"):
        run(["bench", "generate"])


def test_a_disk_that_is_full_in_the_end(tmp_path, capsys, monkeypatch):
    """The numbers have been printed by then."""
    report = Report({"render": 2.0}, 1, 1.0, 1.0, 1, 1.0, None, 1.0, {}, 1, 1)
    monkeypatch.setattr("seqgen.pipeline.bench.report.measure", lambda *told, **more: report)
    monkeypatch.setattr("seqgen.cli.benching.write_json", full_disk)
    with pytest.raises(UserError, match=r"b\.json: No space left on device; name a file"):
        run(["bench", "generate", "--json", str(tmp_path / "b.json")])
    assert "render" in capsys.readouterr().out


def full_disk(*told, **more):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.slow
def test_a_reader_that_leaves(tmp_path):
    """`seqgen bench generate | head -1`: everything is measured and written all the same."""
    words = ["bench", "generate", "--clips", "2", "--rounds", "1", "--no-cold", "--json", str(tmp_path / "b.json"), *SMALL]
    with subprocess.Popen([sys.executable, "-c", "from seqgen.cli import main; main()", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == "" and process.wait(120) == 0
    assert json.loads((tmp_path / "b.json").read_text())["frames_per_s"] > 0


def test_the_command_prints_a_table_and_writes_the_contract(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("seqgen.pipeline.bench.report.STARTS", 1)
    assert run(["bench", "generate", "--clips", "2", "--rounds", "1", "--no-cold", "--json", str(tmp_path / "new" / "b.json"), *SMALL]) == 0
    told, said = json.loads((tmp_path / "new" / "b.json").read_text()), capsys.readouterr().out
    assert tuple(told["stages_ms"]) == STAGE_NAMES and all(f"\n{name} " in said for name in STAGE_NAMES)
    assert told["frames_per_s"] > 0 and told["frames_per_s"] == told["frames_per_s_per_core"] and told["peak_pss_mb"] > 20
    assert told["start_warm_s"] > 0 and told["start_cold_s"] is None and told["against"] is None
