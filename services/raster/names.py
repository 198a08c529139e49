"""What the names of a raster and of its bands say about the meaning of its pixels."""

import re

_TOKEN = r"(?<![a-z]){}(?![a-z])"


def _words(text: str) -> re.Pattern[str]:
    return re.compile(_TOKEN.format(f"(?:{text})"), re.IGNORECASE)


CLASSES = _words(
    r"qa|pixel[_ ]?qa|fmask|scl|class(es)?|classification|land[_ -]?cover"
    r"|land[_ -]?use|lulc|zones?|zoning|ids?|parcels?|categor(y|ies)|flags?|bitmask|quality"
    r"|labels?|segments?|segmentation|nlcd|corine|worldcover|clc|cdl|thematic"
)
ELEVATION = _words(
    r"dem|dtm|dsm|dhm|srtm|nasadem|gdem|gmted|etopo|gebco|elevations?|altitudes?|heights?"
    r"|topography|topo|bathymetry|orography|surface[_ ]altitude|ned"
)
OTHER_SURFACE = _words(
    r"aspect|slope|hill[_ -]?shade|shaded|shade|relief[_ ]shading|roughness|curvature|twi|tpi|tri"
    r"|concentration|conc|sic|sea[_ -]?ice|ice|sst|lst|temp(erature)?s?|tas|t2m|precip(itation)?"
    r"|rain(fall)?|snow|ndvi|evi|ndwi|savi|lai|fpar|refl(ectance)?s?|sur[_ ]refl|radiance|albedo"
    r"|backscatter|sigma0|gamma0|vv|vh|coherence|phase|amplitude|probability|density|fraction"
    r"|percent(age)?|cover[_ ]fraction|index|wind|pressure|humidity|salinity|chlorophyll|chl"
    r"|soil[_ ]moisture|aod|population|distance|velocity|concentrations|canopy|tcc|intensity"
)
SPECTRAL = _words(
    r"multi[_ -]?spectral|hyper[_ -]?spectral|landsat|sentinel[_ -]?2|aster|planet(scope)?|modis"
    r"|rapideye|worldview|spot|bands?|reflectance"
)
PICTURE = _words(r"pan|panchromatic|scan|scanned|grey|gray|greyscale|grayscale")
