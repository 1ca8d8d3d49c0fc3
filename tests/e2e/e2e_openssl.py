"""OpenSSL's own command as either side, and our WLC for it to visit."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from e2e_loadgen import PATIENCE_S, SMALL, Identities, Running, Start, eventually
from ports import free_port, is_listening


class OpenSsl:
    """A running `openssl`; what it prints goes into files, its stdin is a pipe."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        self._out, self._err = folder / "openssl.stdout", folder / "openssl.stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                ["openssl", *map(str, arguments)], stdin=subprocess.PIPE, stdout=out, stderr=err
            )

    def __enter__(self) -> OpenSsl:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)

    def say(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    @property
    def stdout(self) -> bytes:
        return self._out.read_bytes()

    @property
    def stderr(self) -> str:
        return self._err.read_text("utf-8", "replace")

    def wait_for_bytes(self, count: int) -> bytes:
        def enough() -> bytes | None:
            data = self.stdout
            assert len(data) >= count or self.process.poll() is None, self.stderr
            return data if len(data) >= count else None

        data: bytes = eventually(enough, f"{count} bytes from openssl")
        return data

    def wait_for_text(self, text: str) -> str:
        def there() -> bool:
            return text in self.stderr or text.encode() in self.stdout

        eventually(there, f"{text!r} from openssl; so far {self.stderr}")
        return self.stderr + self.stdout.decode("latin-1")

    def end(self) -> tuple[int, str]:
        return self.process.wait(PATIENCE_S), self.stderr


def serve_wlc(start: Start, folder: Path, identities: Identities, host: str, *options: str) -> tuple[Running, str]:
    """Our WLC at `host`; it waits for its visitors, and is stopped by the test's end."""
    port = free_port(host)
    scenario = folder / "serve.toml"
    text = SMALL.replace("count = 4", "count = 1").replace("127.77.2.1:0", f"{host}:{port}")
    text = text.replace("[mse]", f'auth_list = "{identities.auth_list}"\n[mse]')
    scenario.write_text(text, "utf-8")
    running = start("run", scenario, "--serve", "wlc", "--duration", "60s", *options)
    running.wait_for_listener((host, port))
    return running, f"{host}:{port}"


@contextlib.contextmanager
def serve_openssl(folder: Path, host: str, *arguments: object) -> Iterator[tuple[OpenSsl, str]]:
    port = free_port(host)
    with OpenSsl(folder, "s_server", "-accept", f"{host}:{port}", *arguments) as server:
        eventually(lambda: is_listening((host, port)), "openssl s_server")
        yield server, f"{host}:{port}"
