/* The map page: the raster, the controls and the panel. */

import { tellFile, tellItem, tellPlace, linksOf } from "./facts.js";
import { drawRegion, layGround } from "./ground.js";
import { classNames, legendOf } from "./legend.js";
import { address, bandName, cogs, config, degrees, element, figure, json, make, narrow } from "./page.js";

const DRAWN = ["bidx", "rescale", "colormap_name", "colormap", "algorithm", "buffer", "nodata",
  "resampling", "color_formula", "expression", "unscale"];

function complain(text) {
  element("message").textContent = text;
  element("message").hidden = !text;
}

/* The item, when the page was opened for one and it holds the raster that the address names. */
async function catalogued(path) {
  if (!config.collection || !config.item) return null;
  const where = ["collections", config.collection, "items", config.item].map(encodeURIComponent);
  const item = await json(`${config.base}${where.join("/")}/stac`).catch(() => null);
  if (!item || !path) return item;
  return cogs(item).some((cog) => cog.path === path || cog.href === path) ? item : null;
}

/* What may be looked at: the renders of the item over its main COG, then its other COGs. */
function layersOf(item, path) {
  const linked = { title: "As shared", path, query: config.query.filter(([k]) => DRAWN.includes(k)) };
  if (!item) return [linked];
  const [main, ...others] = cogs(item).sort((a, b) => (b.key === "data") - (a.key === "data"));
  const renders = item.properties.renders ?? { default: { title: "Default" } };
  const looks = Object.entries(renders).map(([name, render]) => ({
    title: render.title ?? name, path: main.path, query: parameters(render), render,
  }));
  if (path === main.path && linked.query.length) looks[0].query = linked.query;
  const [first] = looks;
  return [...looks, ...others.map((cog) => ({ ...first, title: cog.title ?? cog.key, path: cog.path }))];
}

function parameters(render) {
  const query = (render.bidx ?? []).map((index) => ["bidx", index]);
  for (const pair of render.rescale ?? []) query.push(["rescale", pair.join(",")]);
  if (render.colormap_name) query.push(["colormap_name", render.colormap_name]);
  if (render.colormap) query.push(["colormap", JSON.stringify(render.colormap)]);
  if (render.nodata !== undefined) query.push(["nodata", render.nodata]);
  if (render.algorithm) query.push(["algorithm", render.algorithm], ["buffer", 3]);
  return query;
}

/* Leaflet would take a tile beyond 180 degrees for one of the far west, outside of the bounds. */
const TilesAround = L.TileLayer.extend({
  getTileUrl({ x, y, z }) {
    const [width, tile] = [2 ** z, L.TileLayer.prototype.getTileUrl];
    return tile.call(this, { x: ((x % width) + width) % width, y, z });
  },
});

function crossesAntimeridian(bounds) {
  return bounds.getEast() > 180 || bounds.getWest() < -180;
}

function tiles(layer, bounds, maxzoom) {
  const template = address({ ...layer, query: [...layer.query, ["tilesize", 512]] },
    "tiles/WebMercatorQuad/{z}/{x}/{y}.png");
  const around = crossesAntimeridian(bounds);
  const made = new (around ? TilesAround : L.TileLayer)(template, {
    bounds, noWrap: around, maxNativeZoom: maxzoom, maxZoom: 24, opacity: element("opacity").value / 100,
  });
  let arrived = 0;
  made.on("loading", () => { arrived = 0; element("map").setAttribute("aria-busy", "true"); });
  made.on("tileload", () => { arrived += 1; complain(""); });
  // Missing tiles around the raster are normal; missing tiles within it are reported.
  made.on("tileerror", () => { made.failed = true; });
  made.on("load", () => {
    element("map").setAttribute("aria-busy", "false");
    if (made.failed && !arrived) complain("The picture cannot be loaded now. Move the map or reload the page to try again.");
    made.failed = false;
  });
  return made;
}

function bounded([west, south, east, north]) {
  const reach = east < west ? east + 360 : east;
  const clamp = (latitude) => Math.max(-85.05, Math.min(85.05, latitude));
  return L.latLngBounds([clamp(south), west], [clamp(north), reach]);
}

function askValues(map, layer, item, bounds) {
  const bands = item ? cogs(item)[0].bands ?? [] : [];
  const words = (found, i) => {
    if (found === null) return `${bandName(bands[i], i + 1)}: no data`;
    const known = classNames(bands[i]);
    const text = known.has(String(found)) ? `class ${found} ${known.get(String(found))}` : figure(found);
    return `${bandName(bands[i], i + 1)}: ${text}${bands[i]?.unit ? ` ${bands[i].unit}` : ""}`;
  };
  map.off("click").on("click", async ({ latlng }) => {
    const { lat, lng } = latlng.wrap();
    const east = lng < bounds.getWest() && lng + 360 <= bounds.getEast() ? lng + 360 : lng;
    const popup = L.popup().setLatLng(latlng).setContent("…").openOn(map);
    const text = await json(address({ ...layer, query: [] }, `point/${east},${lat}`))
      .then(({ values }) => values.map(words).join("\n"))
      .catch(() => "no data here");
    const round = (number) => Number(number.toFixed(5));
    popup.setContent(make("div", `${degrees(round(lat), "NS")}, ${degrees(round(lng), "EW")}\n${text}`, { class: "values" }));
  });
}

/* The address holds the view, so that a reload or a copy of it shows the same. */
function follow(map, bounds) {
  const [zoom, lat, lng] = location.hash.slice(1).split("/").map(Number);
  if (location.hash && [zoom, lat, lng].every(Number.isFinite)) map.setView([lat, lng], zoom);
  else map.fitBounds(bounds, fitting());
  map.on("moveend", () => {
    const { lat: y, lng: x } = map.getCenter();
    history.replaceState(null, "", `#${map.getZoom()}/${y.toFixed(5)}/${x.toFixed(5)}`);
  });
}

/* Room for the panel: at the right on a screen, below on a phone. */
function fitting() {
  const { offsetWidth, offsetHeight } = element("panel");
  return { paddingTopLeft: [20, 20], paddingBottomRight: narrow.matches ? [20, offsetHeight + 20] : [offsetWidth + 40, 20] };
}

function homeButton(map, bounds) {
  const button = make("a", undefined, { href: "#", role: "button", class: "home", title: "Show the whole raster", "aria-label": "Show the whole raster" });
  L.DomEvent.disableClickPropagation(button);
  button.addEventListener("click", (event) => { event.preventDefault(); map.fitBounds(bounds, fitting()); });
  map.zoomControl.getContainer().append(button);
}

function choices(layers, chosen, show) {
  layers.forEach((layer, index) => {
    const label = make("label");
    const radio = make("input", undefined, { type: "radio", name: "layer" });
    radio.checked = index === chosen;
    radio.addEventListener("change", () => show(layer));
    label.append(radio, ` ${layer.title}`);
    element("layers").append(label);
  });
  element("layers").hidden = false;
}

function emptyMap() {
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
  const map = window.theMap = emptyMap();
  const path = config.query.find(([key]) => key === "url")?.[1] ?? null;
  const [tilejson, item, land] = await Promise.all([json(config.tilejson), catalogued(path), layGround(map)]);
  const bounds = bounded(tilejson.bounds);
  // TiTiler takes the width of a raster across the antimeridian for that of the world.
  const deepest = crossesAntimeridian(bounds) ? 24 : tilejson.maxzoom;
  const layers = layersOf(item, path);
  element("title").textContent = document.title = item?.properties.title ?? (path ?? config.item).split("/").pop();
  if (item) tellItem(item); else await tellFile(layers[0]);
  tellPlace(bounds);
  if (land) drawRegion(land, bounds);

  let shown = null;
  const show = (layer) => {
    shown?.remove();
    shown = tiles(layer, bounds, deepest).addTo(map);
    legendOf(layer, item);
    linksOf(layer, item);
    askValues(map, layer, item, bounds);
  };
  const chosen = Math.max(0, layers.findIndex((layer) => layer.path === path));
  if (layers.length > 1) choices(layers, chosen, show);
  element("opacity").addEventListener("input", ({ target }) => shown.setOpacity(target.value / 100));
  // Beyond the raster's own resolution its pixels are shown, not something between them.
  map.on("zoomend", () => element("map").classList.toggle("close", map.getZoom() > deepest));
  homeButton(map, bounds);
  follow(map, bounds);
  show(layers[chosen]);
}

start().catch((error) => {
  element("title").textContent = document.title = "This raster cannot be shown";
  complain(error.message);
});
