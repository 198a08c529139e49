"""How things are done: one file per handler. Adding one: its file, and its line here."""

from core.handler import Handler
from services.create_cog import create_cog
from services.extract_stac_metadata import extract_stac_metadata
from services.greet import greet
from services.summarize_greetings import summarize_greetings
from services.unpublish_item import unpublish_item
from services.validate_raster import validate_raster

ALL_HANDLERS: dict[str, Handler] = {
    "greet": greet,
    "summarize_greetings": summarize_greetings,
    "validate_raster": validate_raster,
    "create_cog": create_cog,
    "extract_stac_metadata": extract_stac_metadata,
    "unpublish_item": unpublish_item,
}
