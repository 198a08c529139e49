"""One Azurite blob server in a folder."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from local import ports, process
from local.emulators.azurite.install import PINS, azurite_script, install_azurite
from local.errors import LocalError, last_lines
from local.install.npm import node
from local.process import Identity

# The published account of Microsoft's emulators; the key is not a secret.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def connection_string(port: int) -> str:
    """A connection string for a server on this port."""
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
        f"BlobEndpoint={endpoint};"
    )


class Azurite:
    """One blob server. Every method is idempotent and can be called from any process."""

    def __init__(self, folder: Path, port: int = 0, options: Sequence[str] = ()) -> None:
        self.folder = folder.absolute()
        self.wanted_port = port
        self.options = options
        self.log = self.folder / "azurite.log"

    def start(self) -> None:
        """Start the server unless it is running."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.identity is not None:
                return self._wait_until_ready()
            install_azurite(self.log)
            return self._launch()

    def stop(self) -> None:
        """Stop the server and keep its blobs."""
        identity = self.identity
        if identity is not None:
            process.stop(identity)
        self.state_file.unlink(missing_ok=True)

    @property
    def identity(self) -> Identity | None:
        """The process of the server; None if it is not running."""
        identity = self._state()[0]
        return identity if identity is not None and process.is_alive(identity) else None

    @property
    def port(self) -> int:
        """The port of the running server."""
        if self.identity is None:
            raise LocalError(f"Azurite in {self.folder} is not running", log=self.log)
        return self._state()[1]

    @property
    def connection_string(self) -> str:
        """A connection string for azure-storage-blob and GDAL's /vsiaz."""
        return connection_string(self.port)

    def _launch(self) -> None:
        """Start the server. If another process takes the chosen port first, choose another one."""
        for _ in range(5):
            port = self.wanted_port or ports.pick_free()
            identity = self._spawn(port)
            state = {"identity": asdict(identity), "port": port}
            self.state_file.write_text(json.dumps(state), encoding="utf-8")
            try:
                return self._wait_until_ready()
            except LocalError:
                if self.wanted_port or "EADDRINUSE" not in "\n".join(last_lines(self.log)):
                    raise
        raise LocalError("Azurite found no free port", log=self.log)

    def _spawn(self, port: int) -> Identity:
        command: list[str | Path] = [node(), "--require", PINS / "preload.js", azurite_script()]
        command += ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
        command += ["--location", self.folder / "data", "--disableTelemetry", "--silent"]
        command += ["--skipApiVersionCheck"]  # newer SDKs send versions that Azurite does not know
        command += self.options
        env = {**os.environ, "NODE_ENV": "production"}
        return process.spawn(command, self.log, env=env, cwd=self.folder)

    def _wait_until_ready(self) -> None:
        identity, port = self._state()
        if identity is None:
            raise LocalError("Azurite was never started", log=self.log)
        process.wait_until_ready("Azurite", identity, partial(ports.is_listening, port), self.log)

    @property
    def state_file(self) -> Path:
        """The file with the process and its port; `start` writes and `stop` removes it."""
        return self.folder / "azurite.json"

    def _state(self) -> tuple[Identity | None, int]:
        try:
            state = json.loads(self.state_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None, 0
        return Identity(**state["identity"]), int(state["port"])
