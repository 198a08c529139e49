"""The PostgreSQL cluster and the Azurite server of tests and the local stack."""

import json
import shutil
import signal
import socket
import threading
import uuid

import psycopg
import pytest
from azure.storage.blob import BlobServiceClient

from local import ports, process
from local.emulators.azurite import Azurite
from local.errors import LocalError
from local.stack.postgres import Cluster


@pytest.fixture
def database(cluster):
    name = f"t{uuid.uuid4().hex}"
    yield cluster.create_database(name)
    cluster.drop_database(name)


@pytest.fixture
def own_cluster(service_folder):
    own = Cluster(service_folder / f"pg {uuid.uuid4().hex} ü")
    own.start()
    yield own
    own.destroy()


def test_database_has_the_extensions_of_pgstac(database):
    with psycopg.connect(database) as connection:
        for name in ("postgis", "btree_gist", "unaccent"):
            connection.execute(f"CREATE EXTENSION {name}")
        moved = connection.execute(
            "SELECT round(ST_X(ST_Transform(ST_SetSRID(ST_Point(10, 50), 4326), 3857)))"
        ).fetchone()
    assert moved == (1113195,)


def test_template_is_copied(cluster, database):
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    template = database.rpartition("/")[2]
    copy = cluster.create_database(f"{template}c", template=template)
    with psycopg.connect(copy) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)
    cluster.drop_database(f"{template}c")
    assert not cluster.has_database(f"{template}c")


def test_second_start_changes_nothing(own_cluster):
    before = own_cluster.identity
    Cluster(own_cluster.folder).start()
    assert own_cluster.identity == before


def test_killed_server_keeps_its_commits(own_cluster):
    with psycopg.connect(own_cluster.dsn()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    process.stop(own_cluster.identity, ask=signal.SIGKILL)
    assert own_cluster.identity is None
    own_cluster.start()
    with psycopg.connect(own_cluster.dsn()) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)


def test_a_cluster_whose_folder_was_deleted_is_recreated(service_folder):
    doomed = Cluster(service_folder / f"pg{uuid.uuid4().hex}")
    doomed.start()
    doomed.create_database("kept")
    before = doomed.identity
    shutil.rmtree(doomed.folder)
    doomed.start()
    assert not process.is_alive(before)
    assert not doomed.has_database("kept")
    doomed.destroy()


def test_data_of_another_version_is_an_error(own_cluster):
    own_cluster.stop()
    version = own_cluster.data / "PG_VERSION"
    there = version.read_text()
    version.write_text("9\n")
    with pytest.raises(
        LocalError, match=f"created by PostgreSQL 9; installed is PostgreSQL {there.strip()}"
    ):
        own_cluster.start()


def test_port_of_a_stopped_server_is_an_error_that_names_its_folder(own_cluster):
    own_cluster.stop()
    with pytest.raises(LocalError, match="is not running") as caught:
        own_cluster.dsn()
    assert str(own_cluster.folder) in str(caught.value)


def test_fixed_port_that_is_taken_is_refused(own_cluster, service_folder):
    second = Cluster(service_folder / f"pg{uuid.uuid4().hex}", port=own_cluster.port)
    with pytest.raises(LocalError, match="failed to start"):
        second.start()
    assert "Address already in use" in second.log.read_text()
    second.destroy()


def test_a_stale_pid_file_with_the_pid_of_another_process(own_cluster):
    """After a restart, a container reuses the same low pids."""
    own_cluster.stop()
    other = process.identify(1)
    assert other is not None
    (own_cluster.data / "postmaster.pid").write_text("1\nelsewhere\n0\n5432\n\n\n\nready\n")
    assert own_cluster.identity is None
    own_cluster.start()
    assert own_cluster.identity is not None
    assert process.is_alive(other)


def test_blobs_survive_a_killed_server(service_folder):
    server = Azurite(service_folder / f"blobs {uuid.uuid4().hex}")
    server.start()
    with BlobServiceClient.from_connection_string(server.connection_string) as client:
        container = client.create_container("kept")
        container.upload_blob("a/b.bin", b"x" * 100_000)
    wait_for_save(server)
    process.stop(server.identity, ask=signal.SIGKILL)
    assert server.identity is None
    server.start()
    with BlobServiceClient.from_connection_string(server.connection_string) as client:
        assert client.get_blob_client("kept", "a/b.bin").download_blob().readall() == b"x" * 100_000
    server.stop()
    assert server.identity is None


def wait_for_save(server):
    """Wait until Azurite has saved both of its databases: the blobs, and where their bytes are."""

    def is_saved():
        names = ("__azurite_db_blob__.json", "__azurite_db_blob_extent__.json")
        files = [server.folder / "data" / name for name in names]
        if not all(file.exists() for file in files):
            return False
        blobs, extents = (json.loads(file.read_text())["collections"] for file in files)
        ids = {
            blob["persistency"]["id"]
            for collection in blobs
            for blob in collection["data"]
            if blob.get("name") == "a/b.bin"
        }
        saved = {extent["id"] for collection in extents for extent in collection["data"]}
        return bool(ids) and ids <= saved

    process.wait_until_ready("Azurite", server.identity, is_saved, server.log)


def test_shared_azurite_takes_uploads(azurite):
    with BlobServiceClient.from_connection_string(azurite.connection_string) as client:
        container = client.create_container(f"c{uuid.uuid4().hex}")
        container.upload_blob("x.tif", b"II*")
        assert [blob.name for blob in container.list_blobs()] == ["x.tif"]


def test_free_port_is_free_and_outside_the_range_of_outgoing_connections():
    port = ports.pick_free()
    assert ports.is_free(port)
    assert ports.LOWEST <= port <= ports.HIGHEST < 32_768


def test_a_port_in_use_is_detected(azurite):
    assert not ports.is_free(azurite.port)
    assert ports.is_listening(azurite.port)


def test_a_port_that_becomes_free_is_waited_for():
    """A killed process keeps its sockets until its last thread has ended."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", ports.pick_free()))
        held.listen()
        port = held.getsockname()[1]
        assert not ports.becomes_free(port, timeout=0.1)
        threading.Timer(0.2, held.close).start()
        assert ports.becomes_free(port, timeout=10)
