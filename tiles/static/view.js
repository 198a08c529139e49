/* The map itself: tiles, bounds and controls, of one raster or of a collection. */

import { createElement, element, narrow } from "./page.js";

export function showMessage(text) {
  element("message").textContent = text;
  element("message").hidden = !text;
}

/* Leaflet would wrap a tile beyond 180 degrees to the west, outside of the bounds. */
const TilesAround = L.TileLayer.extend({
  getTileUrl({ x, y, z }) {
    const [width, tile] = [2 ** z, L.TileLayer.prototype.getTileUrl];
    return tile.call(this, { x: ((x % width) + width) % width, y, z });
  },
});

export function crossesAntimeridian(bounds) {
  return bounds.getEast() > 180 || bounds.getWest() < -180;
}

function createTileLayer(template, bounds, maxzoom) {
  const around = crossesAntimeridian(bounds);
  const made = new (around ? TilesAround : L.TileLayer)(template, {
    bounds, noWrap: around, maxNativeZoom: maxzoom, maxZoom: 24, opacity: element("opacity").value / 100,
  });
  let arrived = 0;
  made.on("loading", () => { arrived = 0; element("map").setAttribute("aria-busy", "true"); });
  made.on("tileload", () => { arrived += 1; showMessage(""); });
  // Missing tiles around the raster are normal; missing tiles within it are reported.
  made.on("tileerror", ({ tile }) => { made.failed = tile.src; });
  made.on("load", () => {
    element("map").setAttribute("aria-busy", "false");
    if (made.failed && !arrived) explainMissingTile(made.failed);
    made.failed = null;
  });
  return made;
}

/* An answer without content means that there is nothing to draw. */
async function explainMissingTile(url) {
  const answer = await fetch(url).catch(() => null);
  if (answer?.status === 204) return;
  const problem = answer?.status === 400 ? await answer.json().catch(() => null) : null;
  showMessage(problem?.detail ?? "The image cannot be loaded now. Move the map or reload the page to try again.");
}

export function toBounds([west, south, east, north]) {
  const reach = east < west ? east + 360 : east;
  const clamp = (latitude) => Math.max(-85.05, Math.min(85.05, latitude));
  return L.latLngBounds([clamp(south), west], [clamp(north), reach]);
}

/* The parameters of a render that choose bands, values and colours. */
export function buildQuery(render) {
  const query = (render.bidx ?? []).map((index) => ["bidx", index]);
  for (const pair of render.rescale ?? []) query.push(["rescale", pair.join(",")]);
  if (render.colormap_name) query.push(["colormap_name", render.colormap_name]);
  if (render.colormap) query.push(["colormap", JSON.stringify(render.colormap)]);
  if (render.nodata !== undefined) query.push(["nodata", render.nodata]);
  if (render.algorithm) query.push(["algorithm", render.algorithm], ["buffer", 3]);
  return query;
}

/* Leaves room for the panel: at the right on a screen, below on a phone. */
export function fitOptions() {
  const { offsetWidth, offsetHeight } = element("panel");
  return { paddingTopLeft: [20, 20], paddingBottomRight: narrow.matches ? [20, offsetHeight + 20] : [offsetWidth + 40, 20] };
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

function addHomeButton(map, bounds, text) {
  const button = createElement("a", undefined, { href: "#", role: "button", class: "home", title: text, "aria-label": text });
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

export function createMap() {
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

/* Shows one layer at a time, and the controls of all. `tiles` gives the URL template of a layer. */
export function showLayers(map, layers, { bounds, deepest, chosen, home, tiles, onShow }) {
  let shown = null;
  const show = (layer) => {
    shown?.remove();
    shown = createTileLayer(tiles(layer), bounds, deepest).addTo(map);
    onShow(layer);
  };
  if (layers.length > 1) addLayerChoices(layers, chosen, show);
  element("opacity").addEventListener("input", ({ target }) => shown.setOpacity(target.value / 100));
  // Beyond the resolution of the raster, its pixels are not smoothed.
  map.on("zoomend", () => element("map").classList.toggle("close", map.getZoom() > deepest));
  addHomeButton(map, bounds, home);
  keepViewInUrl(map, bounds);
  show(layers[chosen]);
}
