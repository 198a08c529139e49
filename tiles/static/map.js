/* The map page: the raster, the controls and the panel. */

import { showCentre, showFileFacts, showItemFacts, showLinks } from "./facts.js";
import { drawBackground, drawRegion } from "./ground.js";
import { readClassNames, showLegend } from "./legend.js";
import { buildUrl, config, createElement, element, fetchJson, formatBandName, formatDegrees, formatNumber, listCogs, narrow } from "./page.js";

const DRAWN = ["bidx", "rescale", "colormap_name", "colormap", "algorithm", "buffer", "nodata",
  "resampling", "color_formula", "expression", "unscale"];

function showMessage(text) {
  element("message").textContent = text;
  element("message").hidden = !text;
}

/* The item of the page, if it contains the raster at `path`. */
async function fetchItem(path) {
  if (!config.collection || !config.item) return null;
  const where = ["collections", config.collection, "items", config.item].map(encodeURIComponent);
  const item = await fetchJson(`${config.base}${where.join("/")}/stac`).catch(() => null);
  if (!item || !path) return item;
  return listCogs(item).some((cog) => cog.path === path || cog.href === path) ? item : null;
}

/* The layers to choose from: the item's renders of its main COG, then its other COGs. */
function listLayers(item, path) {
  const linked = { title: "As shared", path, query: config.query.filter(([k]) => DRAWN.includes(k)) };
  if (!item) return [linked];
  const [main, ...others] = listCogs(item).sort((a, b) => (b.key === "data") - (a.key === "data"));
  const renders = item.properties.renders ?? { default: { title: "Default" } };
  const views = Object.entries(renders).map(([name, render]) => ({
    title: render.title ?? name, path: main.path, query: buildQuery(render), render,
  }));
  if (path === main.path && linked.query.length) views[0].query = linked.query;
  const [first] = views;
  return [...views, ...others.map((cog) => ({ ...first, title: cog.title ?? cog.key, path: cog.path }))];
}

function buildQuery(render) {
  const query = (render.bidx ?? []).map((index) => ["bidx", index]);
  for (const pair of render.rescale ?? []) query.push(["rescale", pair.join(",")]);
  if (render.colormap_name) query.push(["colormap_name", render.colormap_name]);
  if (render.colormap) query.push(["colormap", JSON.stringify(render.colormap)]);
  if (render.nodata !== undefined) query.push(["nodata", render.nodata]);
  if (render.algorithm) query.push(["algorithm", render.algorithm], ["buffer", 3]);
  return query;
}

/* Leaflet would wrap a tile beyond 180 degrees to the west, outside of the bounds. */
const TilesAround = L.TileLayer.extend({
  getTileUrl({ x, y, z }) {
    const [width, tile] = [2 ** z, L.TileLayer.prototype.getTileUrl];
    return tile.call(this, { x: ((x % width) + width) % width, y, z });
  },
});

function crossesAntimeridian(bounds) {
  return bounds.getEast() > 180 || bounds.getWest() < -180;
}

function createTileLayer(layer, bounds, maxzoom) {
  const template = buildUrl({ ...layer, query: [...layer.query, ["tilesize", 512]] },
    "tiles/WebMercatorQuad/{z}/{x}/{y}.png");
  const around = crossesAntimeridian(bounds);
  const made = new (around ? TilesAround : L.TileLayer)(template, {
    bounds, noWrap: around, maxNativeZoom: maxzoom, maxZoom: 24, opacity: element("opacity").value / 100,
  });
  let arrived = 0;
  made.on("loading", () => { arrived = 0; element("map").setAttribute("aria-busy", "true"); });
  made.on("tileload", () => { arrived += 1; showMessage(""); });
  // Missing tiles around the raster are normal; missing tiles within it are reported.
  made.on("tileerror", () => { made.failed = true; });
  made.on("load", () => {
    element("map").setAttribute("aria-busy", "false");
    if (made.failed && !arrived) showMessage("The image cannot be loaded now. Move the map or reload the page to try again.");
    made.failed = false;
  });
  return made;
}

function toBounds([west, south, east, north]) {
  const reach = east < west ? east + 360 : east;
  const clamp = (latitude) => Math.max(-85.05, Math.min(85.05, latitude));
  return L.latLngBounds([clamp(south), west], [clamp(north), reach]);
}

function showValuesOnClick(map, layer, item, bounds) {
  const bands = item ? listCogs(item)[0].bands ?? [] : [];
  const words = (found, i) => {
    if (found === null) return `${formatBandName(bands[i], i + 1)}: no data`;
    const known = readClassNames(bands[i]);
    const text = known.has(String(found)) ? `class ${found} ${known.get(String(found))}` : formatNumber(found);
    return `${formatBandName(bands[i], i + 1)}: ${text}${bands[i]?.unit ? ` ${bands[i].unit}` : ""}`;
  };
  map.off("click").on("click", async ({ latlng }) => {
    const { lat, lng } = latlng.wrap();
    const east = lng < bounds.getWest() && lng + 360 <= bounds.getEast() ? lng + 360 : lng;
    const popup = L.popup().setLatLng(latlng).setContent("…").openOn(map);
    const text = await fetchJson(buildUrl({ ...layer, query: [] }, `point/${east},${lat}`))
      .then(({ values }) => values.map(words).join("\n"))
      .catch(() => "no data here");
    const round = (number) => Number(number.toFixed(5));
    popup.setContent(createElement("div", `${formatDegrees(round(lat), "NS")}, ${formatDegrees(round(lng), "EW")}\n${text}`, { class: "values" }));
  });
}

/* The URL contains the view, so that a reload or a copy of it shows the same. */
function keepViewInUrl(map, bounds) {
  const [zoom, lat, lng] = location.hash.slice(1).split("/").map(Number);
  if (location.hash && [zoom, lat, lng].every(Number.isFinite)) map.setView([lat, lng], zoom);
  else map.fitBounds(bounds, fitOptions());
  map.on("moveend", () => {
    const { lat: y, lng: x } = map.getCenter();
    history.replaceState(null, "", `#${map.getZoom()}/${y.toFixed(5)}/${x.toFixed(5)}`);
  });
}

/* Leaves room for the panel: at the right on a screen, below on a phone. */
function fitOptions() {
  const { offsetWidth, offsetHeight } = element("panel");
  return { paddingTopLeft: [20, 20], paddingBottomRight: narrow.matches ? [20, offsetHeight + 20] : [offsetWidth + 40, 20] };
}

function addHomeButton(map, bounds) {
  const button = createElement("a", undefined, { href: "#", role: "button", class: "home", title: "Show the whole raster", "aria-label": "Show the whole raster" });
  L.DomEvent.disableClickPropagation(button);
  button.addEventListener("click", (event) => { event.preventDefault(); map.fitBounds(bounds, fitOptions()); });
  map.zoomControl.getContainer().append(button);
}

function addLayerChoices(layers, chosen, show) {
  layers.forEach((layer, index) => {
    const label = createElement("label");
    const radio = createElement("input", undefined, { type: "radio", name: "layer" });
    radio.checked = index === chosen;
    radio.addEventListener("change", () => show(layer));
    label.append(radio, ` ${layer.title}`);
    element("layers").append(label);
  });
  element("layers").hidden = false;
}

function createMap() {
  const map = L.map("map", { maxZoom: 24 }).setView([0, 0], 1);
  map.attributionControl.setPrefix('<a href="https://leafletjs.com">Leaflet</a> · TiTiler')
    .setPosition(narrow.matches ? "topright" : "bottomleft");
  L.control.scale({ position: "topleft", imperial: false }).addTo(map);
  element("fold").addEventListener("click", () => {
    const folded = element("panel").classList.toggle("folded");
    element("fold").setAttribute("aria-expanded", String(!folded));
  });
  return map;
}

async function start() {
  const map = window.theMap = createMap();
  const path = config.query.find(([key]) => key === "url")?.[1] ?? null;
  const [tilejson, item, land] = await Promise.all([fetchJson(config.tilejson), fetchItem(path), drawBackground(map)]);
  const bounds = toBounds(tilejson.bounds);
  // For a raster across the antimeridian, TiTiler computes the zoom from a width of 360 degrees.
  const deepest = crossesAntimeridian(bounds) ? 24 : tilejson.maxzoom;
  const layers = listLayers(item, path);
  element("title").textContent = document.title = item?.properties.title ?? (path ?? config.item).split("/").pop();
  if (item) showItemFacts(item); else await showFileFacts(layers[0]);
  showCentre(bounds);
  if (land) drawRegion(land, bounds);

  let shown = null;
  const show = (layer) => {
    shown?.remove();
    shown = createTileLayer(layer, bounds, deepest).addTo(map);
    showLegend(layer, item);
    showLinks(layer, item);
    showValuesOnClick(map, layer, item, bounds);
  };
  const chosen = Math.max(0, layers.findIndex((layer) => layer.path === path));
  if (layers.length > 1) addLayerChoices(layers, chosen, show);
  element("opacity").addEventListener("input", ({ target }) => shown.setOpacity(target.value / 100));
  // Beyond the resolution of the raster, its pixels are not smoothed.
  map.on("zoomend", () => element("map").classList.toggle("close", map.getZoom() > deepest));
  addHomeButton(map, bounds);
  keepViewInUrl(map, bounds);
  show(layers[chosen]);
}

start().catch((error) => {
  element("title").textContent = document.title = "This raster cannot be shown";
  showMessage(error.message);
});
