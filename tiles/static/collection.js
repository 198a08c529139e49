/* The map page of a collection: its mosaic, the footprints and the list of its rasters. */

import { addFacts, createCopyButton, formatDates, showCentre } from "./facts.js";
import { drawBackground, drawRegion } from "./ground.js";
import { showLegend } from "./legend.js";
import { DRAWN, config, createElement, element, fetchJson } from "./page.js";
import { buildQuery, createMap, crossesAntimeridian, fitOptions, showLayers, showMessage, toBounds } from "./view.js";

const LISTED = 50;
const OUTLINED = 500;

function buildCollectionUrl(place, query = []) {
  const base = `${config.base}collections/${encodeURIComponent(config.collection)}/${place}`;
  return query.length ? `${base}?${new URLSearchParams(query)}` : base;
}

/* The collection's renders; the first as the link has it. */
function listLayers(collection) {
  const assets = config.query.filter(([key]) => key === "assets");
  const linked = [...assets, ...config.query.filter(([key]) => DRAWN.includes(key))];
  const renders = Object.entries(collection.renders ?? { default: { title: "Default" } });
  const layers = renders.map(([name, render]) => ({ title: render.title ?? name, query: buildAssetQuery(render), render }));
  if (assets.length) layers[0].query = linked;
  return layers;
}

/* titiler-pgstac 3 has the bands with their asset. */
function buildAssetQuery(render) {
  const [asset] = render.assets ?? ["data"];
  const bands = render.bidx?.length ? `|bidx=${render.bidx.join(",")}` : "";
  return [["assets", asset + bands], ...buildQuery(render).filter(([key]) => key !== "bidx")];
}

function buildTilesUrl(query) {
  return buildCollectionUrl("tiles/WebMercatorQuad/{z}/{x}/{y}", query);
}

function buildItemUrl(feature, layer) {
  return buildCollectionUrl(`items/${encodeURIComponent(feature.id)}/WebMercatorQuad/map.html`, layer.query);
}

/* Parts of a range of longitudes within -180 to 180, each with its shift from there to the map. */
function splitLongitudes(west, east) {
  return [-360, 0, 360]
    .map((shift) => ({ shift, west: Math.max(west - shift, -180), east: Math.min(east - shift, 180) }))
    .filter((part) => part.west < part.east);
}

function showFacts(collection, bounds) {
  const [[start, end] = []] = collection.extent.temporal?.interval ?? [];
  const failed = collection["geolathe:failed"];
  addFacts([
    ["About", collection.description],
    ["Dates", start && end && (start === end ? formatDates({ datetime: start }) : formatDates({ start_datetime: start, end_datetime: end }))],
    ["Failed", failed && `${failed.toLocaleString()} ${failed === 1 ? "raster" : "rasters"} could not be processed`],
  ]);
  showCentre(bounds);
}

function showLinks(layer) {
  const links = element("links");
  links.replaceChildren();
  if (config.stac) {
    const href = `${config.stac}/collections/${encodeURIComponent(config.collection)}`;
    links.append(createElement("div", undefined, {}, createElement("a", "STAC collection", { href, rel: "noopener" })));
  }
  links.append(createCopyButton("WMTS address, for QGIS", buildCollectionUrl("WMTSCapabilities.xml", layer.query)));
  const tiles = buildTilesUrl(layer.query).replace(/%7B([zxy])%7D/gi, "{$1}");
  links.append(createCopyButton("XYZ address, for web maps", tiles));
}

/* What is at a place, newest first. */
function showRastersOnClick(map, layer) {
  map.off("click").on("click", async ({ latlng }) => {
    const { lat, lng } = latlng.wrap();
    const popup = L.popup().setLatLng(latlng).setContent("…").openOn(map);
    const place = [["bbox", [lng, lat, lng, lat].join(",")], ["limit", 10]];
    const found = await fetchJson(buildCollectionUrl("members", place)).catch((error) => ({ error }));
    const list = createElement("ul", undefined, { class: "here" });
    for (const feature of found.features ?? []) list.append(createMemberLine(feature, layer));
    if (found.next) list.append(createElement("li", "and older ones"));
    popup.setContent(list.hasChildNodes() ? list : createElement("div", found.error?.message ?? "no raster here"));
  });
}

function createMemberLine(feature, layer) {
  const link = createElement("a", feature.properties.title, { href: buildItemUrl(feature, layer) });
  return createElement("li", undefined, {}, link, createElement("span", formatDates(feature.properties)));
}

/* The outlines of the rasters in view, while the box is checked. */
function showFootprintsOnDemand(map) {
  const outlines = L.layerGroup().addTo(map);
  let asked = 0;
  const draw = async () => {
    const turn = ++asked;
    if (!element("footprints").checked) { outlines.clearLayers(); element("clipped").hidden = true; return; }
    const view = map.getBounds();
    const latitudes = [Math.max(view.getSouth(), -90), Math.min(view.getNorth(), 90)];
    const parts = await Promise.all(splitLongitudes(view.getWest(), view.getEast()).map(async ({ shift, west, east }) => {
      const bbox = [west, latitudes[0], east, latitudes[1]].join(",");
      return { shift, page: await fetchJson(buildCollectionUrl("members", [["bbox", bbox], ["limit", OUTLINED]])) };
    }));
    if (turn !== asked) return;
    outlines.clearLayers();
    for (const { shift, page } of parts) outlines.addLayer(drawOutlines(page, shift));
    const clipped = parts.some(({ page }) => page.next);
    element("clipped").textContent = clipped ? `The newest ${OUTLINED} are outlined. Zoom in to see others.` : "";
    element("clipped").hidden = !clipped;
  };
  const update = () => draw().catch((error) => showMessage(error.message));
  element("footprints").addEventListener("change", update);
  map.on("moveend", update);
}

function drawOutlines(page, shift) {
  return L.geoJSON(page, {
    interactive: false,
    style: { weight: 1.5, fill: false, className: "footprint" },
    coordsToLatLng: ([x, y]) => L.latLng(y, x + shift),
  });
}

/* The list, a page at a time. A raster of the list is shown on the map. */
function listMembers(map) {
  const list = element("members").querySelector("ol");
  const load = async (query) => {
    const page = await fetchJson(buildCollectionUrl("members", [["limit", LISTED], ...query]));
    for (const feature of page.features) {
      const button = createElement("button", feature.properties.title, { type: "button" });
      button.addEventListener("click", () => map.fitBounds(L.geoJSON(feature).getBounds(), fitOptions()));
      list.append(createElement("li", undefined, {}, button, createElement("span", formatDates(feature.properties))));
    }
    element("members").hidden = !list.hasChildNodes();
    element("more").hidden = !page.next;
    element("more").onclick = () => load([["after", page.next]]).catch((error) => showMessage(error.message));
  };
  return load([]);
}

async function start() {
  const map = window.theMap = createMap();
  const [tilejson, collection, land] = await Promise.all([
    fetchJson(config.tilejson), fetchJson(buildCollectionUrl("stac")), drawBackground(map),
  ]);
  const box = collection.extent.spatial.bbox[0];
  const half = box.length / 2;
  const bounds = toBounds([box[0], box[1], box[half], box[half + 1]]);
  element("title").textContent = document.title = collection.title ?? collection.id;
  showFacts(collection, bounds);
  if (land) drawRegion(land, bounds);
  showFootprintsOnDemand(map);
  showLayers(map, listLayers(collection), {
    bounds,
    deepest: crossesAntimeridian(bounds) ? 24 : tilejson.maxzoom,
    chosen: 0,
    home: "Show the whole collection",
    tiles: (layer) => buildTilesUrl([...layer.query, ["tilesize", 512]]),
    onShow: (layer) => {
      showLegend(layer, null);
      showLinks(layer);
      showRastersOnClick(map, layer);
    },
  });
  await listMembers(map);
}

start().catch((error) => {
  element("title").textContent = document.title = "This collection cannot be shown";
  showMessage(error.message);
});
