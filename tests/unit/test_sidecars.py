"""The client, which does not import the product, has the same list of sidecars."""

from core.sidecars import APPENDED, REPLACED
from core.uploads import RASTERS
from geolathe.upload import sidecar_names


def test_the_client_uploads_exactly_the_sidecars_that_the_product_reads():
    found = set()
    for suffix in RASTERS:
        appended = {f"a{suffix}{ending}" for ending in APPENDED}
        names = sidecar_names(f"a{suffix}")
        assert appended <= names
        found |= {name.removeprefix("a") for name in names - appended}
    assert found == set(REPLACED)
