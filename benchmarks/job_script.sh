#!/bin/sh
# process_raster as a script: download, gdalwarp, upload, load a STAC item.
#
# From the environment: SOURCE_URL and TARGET_URL (signed), COLLECTION, ITEM, PYTHON, PYPGSTAC,
# THREADS, CACHE_MB, WARP_MB, and PGHOST, PGPORT and so on for the database. PREDICTOR=2 is for
# integers. The collection must exist.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
source=$folder/source.tif
cog=$folder/cog.tif

curl -fsS -o "$source" "$SOURCE_URL"

gdalwarp -q -t_srs EPSG:4326 -r cubic -multi -wo "NUM_THREADS=$THREADS" -wm "$WARP_MB" \
    --config GDAL_CACHEMAX "$CACHE_MB" -of COG -co COMPRESS=DEFLATE -co PREDICTOR=2 -co LEVEL=6 \
    -co "NUM_THREADS=$THREADS" -co OVERVIEW_RESAMPLING=AVERAGE -co BIGTIFF=IF_SAFER \
    "$source" "$cog"

curl -fsS -T "$cog" -H 'x-ms-blob-type: BlockBlob' -H 'Content-Type: image/tiff' "$TARGET_URL"

gdalinfo -json "$cog" > "$folder/info.json"
"$PYTHON" - "$folder" <<'END'
import json, os, pathlib, sys

folder = pathlib.Path(sys.argv[1])
footprint = json.loads((folder / "info.json").read_text())["wgs84Extent"]
xs, ys = zip(*footprint["coordinates"][0])
href = os.environ["TARGET_URL"].partition("?")[0]
media_type = "image/tiff; application=geotiff; profile=cloud-optimized"
item = {
    "type": "Feature",
    "stac_version": "1.1.0",
    "id": os.environ["ITEM"],
    "collection": os.environ["COLLECTION"],
    "geometry": footprint,
    "bbox": [min(xs), min(ys), max(xs), max(ys)],
    "properties": {"datetime": "2025-11-21T00:00:00Z"},
    "assets": {"data": {"href": href, "type": media_type, "roles": ["data"]}},
    "links": [],
}
(folder / "item.ndjson").write_text(json.dumps(item) + "\n")
END

"$PYPGSTAC" load items "$folder/item.ndjson" --method upsert
