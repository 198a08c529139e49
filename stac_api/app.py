"""The STAC API: `python -m uvicorn stac_api.app:app`.

Settings: PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE of the database with pgSTAC. The API is
read-only: only jobs write items. `/_mgmt/ping` and `/_mgmt/health` report its state.
"""

from stac_fastapi.pgstac.app import instantiate_api
from stac_fastapi.pgstac.config import Settings
from stac_fastapi.pgstac.models.extensions import Extensions

from stac_api.antimeridian import CatalogueClient

settings = Settings(
    stac_fastapi_title="Geolathe catalogue",
    stac_fastapi_description="Rasters published as Cloud-Optimized GeoTIFFs",
    stac_fastapi_landing_id="geolathe",
    enable_transactions_extensions=False,
)
app = instantiate_api(
    client=CatalogueClient, settings=settings, extensions=Extensions(settings=settings)
).app
