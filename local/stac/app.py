"""The STAC API: `python -m uvicorn local.stac.app:app`.

Settings: PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE of the database with pgSTAC. It never
writes: items come from jobs alone. `/_mgmt/ping` and `/_mgmt/health` tell how it is.
"""

from stac_fastapi.pgstac.app import instantiate_api
from stac_fastapi.pgstac.config import Settings
from stac_fastapi.pgstac.models.extensions import Extensions

settings = Settings(
    stac_fastapi_title="Geolathe catalogue",
    stac_fastapi_description="Rasters published as Cloud-Optimized GeoTIFFs",
    stac_fastapi_landing_id="geolathe",
    enable_transactions_extensions=False,
)
app = instantiate_api(settings=settings, extensions=Extensions(settings=settings)).app
