"""The STAC API: `python -m uvicorn stac_api.app:app`.

Settings: DATABASE_URL of the database with pgSTAC; without a password in it, the managed identity
that AZURE_CLIENT_ID names signs in. The API is read-only: only jobs write items. `/_mgmt/ping` and
`/_mgmt/health` report its state.
"""

from stac_fastapi.pgstac.app import instantiate_api
from stac_fastapi.pgstac.config import Settings
from stac_fastapi.pgstac.models.extensions import Extensions

from stac_api.antimeridian import CatalogueClient
from stac_api.database import lifespan

settings = Settings(
    stac_fastapi_title="Geolathe catalogue",
    stac_fastapi_description="Rasters published as Cloud-Optimized GeoTIFFs",
    stac_fastapi_landing_id="geolathe",
    enable_transactions_extensions=False,
)
app = instantiate_api(
    client=CatalogueClient,
    settings=settings,
    extensions=Extensions(settings=settings),
    lifespan=lifespan,
).app
