#!/bin/sh
# process_raster_collection as a script: gdalwarp for each tile, in parallel, and one pypgstac load.
#
# Without arguments: reads lines of "source-url target-url item-id" from $TILES and starts itself
# for each of them, $PROCESSES at a time. From the environment also: FOLDER, COLLECTION, PYTHON,
# PYPGSTAC, CACHE_MB, WARP_MB, and PGHOST, PGPORT and so on. The collection must exist.
set -eu

if [ $# -eq 0 ]; then
    xargs -P "$PROCESSES" -L 1 "$0" < "$TILES"
    cat "$FOLDER"/*.item > "$FOLDER/items.ndjson"
    exec "$PYPGSTAC" load items "$FOLDER/items.ndjson" --method insert
fi

source=$FOLDER/$3.source.tif
cog=$FOLDER/$3.tif
curl -fsS -o "$source" "$1"
gdalwarp -q -t_srs EPSG:4326 -r cubic -wm "$WARP_MB" --config GDAL_CACHEMAX "$CACHE_MB" \
    -of COG -co COMPRESS=DEFLATE -co PREDICTOR=2 -co LEVEL=6 -co OVERVIEW_RESAMPLING=AVERAGE \
    "$source" "$cog"
curl -fsS -T "$cog" -H 'x-ms-blob-type: BlockBlob' -H 'Content-Type: image/tiff' "$2"
gdalinfo -json "$cog" | "$PYTHON" -c '
import json, sys

href, item, collection = sys.argv[1:]
footprint = json.load(sys.stdin)["wgs84Extent"]
xs, ys = zip(*footprint["coordinates"][0])
print(json.dumps({
    "type": "Feature", "stac_version": "1.1.0", "id": item, "collection": collection,
    "geometry": footprint, "bbox": [min(xs), min(ys), max(xs), max(ys)],
    "properties": {"datetime": "2025-11-21T00:00:00Z"},
    "assets": {"data": {"href": href.partition("?")[0], "roles": ["data"]}}, "links": [],
}))' "$2" "$3" "$COLLECTION" > "$FOLDER/$3.item"
rm "$source" "$cog"
