"""Common names of spectral bands."""

import pytest

from services.raster.band_names import BandLabel, find_common_names


def names(*descriptions: str) -> list[str | None]:
    return list(find_common_names([BandLabel(text) for text in descriptions]))


@pytest.mark.parametrize(
    ("descriptions", "red", "green", "blue"),
    [
        (("B01", "B02", "B03", "B04", "B08"), 3, 2, 1),
        (("B8A", "B4", "B3", "B2"), 1, 2, 3),
        (("T32UQD_20200601_B02_10m", "x_B03_10m", "x_B04_10m"), 2, 1, 0),
        (("SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5"), 3, 2, 1),
        (("SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B7"), 2, 1, 0),
        (("sur_refl_b01", "sur_refl_b02", "sur_refl_b03", "sur_refl_b04"), 0, 3, 2),
        (("BAND_C", "BAND_B", "BAND_G", "BAND_Y", "BAND_R", "BAND_N"), 4, 2, 1),
        (("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir"), 5, 3, 1),
        (("Blue", "Green", "Red", "Red edge", "NIR"), 2, 1, 0),
        (("NIR", "RED", "GREEN", "BLUE"), 1, 2, 3),
    ],
)
def test_sensor_names_determine_the_colours(descriptions, red, green, blue):
    found = names(*descriptions)
    assert (found.index("red"), found.index("green"), found.index("blue")) == (red, green, blue)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("wavelength", ("842", "665", "560", "492")),
        ("center_wavelength", ("0.842", "0.665", "0.56", "0.492")),
        ("WAVELENGTH", ("842 nm", "665 nm", "560 nm", "492 nm")),
        ("CENTRAL_WAVELENGTH_UM", ("0.842", "0.665", "0.56", "0.492")),
    ],
)
def test_wavelengths_determine_the_colours(key, values):
    bands = [BandLabel(f"Band {n}", "gray", {key: value}) for n, value in enumerate(values)]
    assert find_common_names(bands) == ("nir", "red", "green", "blue")


def test_of_many_narrow_bands_the_nearest_has_the_name():
    bands = [BandLabel(f"{length} nm") for length in range(400, 1000, 5)]
    found = find_common_names(bands)
    assert bands[found.index("red")].description == "660 nm"
    assert found.count("red") == 1


@pytest.mark.parametrize("text", ["", "Band 4", "elevation", "infrastructure", "coloured", "B"])
def test_other_descriptions_name_nothing_red_or_infrared(text):
    assert not {"red", "nir"} & set(names(text, text))
