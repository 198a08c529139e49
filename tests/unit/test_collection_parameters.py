"""The parameters of process_raster_collection."""

import pytest
from pydantic import ValidationError

from jobs.process_raster_collection import Parameters, ProcessRasterCollection
from testing.blobs import MemoryBlobs
from testing.harness import memory_ports

REQUIRED = {"container_name": "bronze", "collection_id": "survey"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "give either blob_names or prefix"),
        ({"prefix": "in/", "blob_names": ["a.tif"]}, "give either blob_names or prefix"),
        ({"blob_names": ["a.tif"], "pattern": "*"}, "need a prefix"),
        ({"blob_names": ["a.tif"], "sync": True}, "need a prefix"),
        ({"blob_names": []}, "at least 1 item"),
        ({"prefix": "../in/"}, "'..' path segment"),
        ({"prefix": "in/", "on_error": "ignore"}, "'continue' or 'stop'"),
        ({"prefix": "in/", "blob_name": "a.tif"}, "Extra inputs are not permitted"),
        ({"prefix": "in/", "item_id": "one"}, "Extra inputs are not permitted"),
        ({"prefix": "in/", "providers": [{"name": "A", "url": "ftp://a"}]}, "should match pattern"),
        ({"prefix": "in/", "providers": [{"name": "A", "roles": ["boss"]}]}, "'licensor', 'prod"),
        ({"prefix": "in/", "output_folder": ".mosaic/a"}, ".mosaic/ holds files of jobs"),
        ({"prefix": "in/", "output_folder": "/.overviews"}, ".overviews/ holds files of jobs"),
    ],
)
def test_wrong_parameters_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        Parameters.model_validate(REQUIRED | wrong)


def test_an_empty_prefix_means_the_whole_container():
    assert Parameters.model_validate(REQUIRED | {"prefix": ""}).prefix == ""


def test_cogs_go_into_the_folder_of_the_collection_by_default():
    ports = memory_ports(MemoryBlobs({"bronze/in/a.tif": b"x"}))
    job, params = ProcessRasterCollection(), Parameters.model_validate(REQUIRED | {"prefix": "in/"})
    assert job.prepare(params, ports).output_folder == "survey"
    chosen = params.model_copy(update={"output_folder": "cogs"})
    assert job.prepare(chosen, ports).output_folder == "cogs"


def test_listed_blobs_are_split_into_tasks_without_doubles():
    names = [f"{number}.tif" for number in range(1_500)]
    params = Parameters.model_validate(REQUIRED | {"blob_names": [*names, names[0]]})
    job = ProcessRasterCollection()
    prepared = job.prepare(params, memory_ports(MemoryBlobs()))
    tasks = list(job.select(prepared, []))
    assert [len(task.names) for task in tasks] == [1_000, 500]
    assert [name for task in tasks for name in task.names] == names
