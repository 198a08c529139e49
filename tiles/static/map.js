/* The map page of one raster. */

import { showCentre, showFileFacts, showItemFacts, showLinks } from "./facts.js";
import { drawBackground, drawRegion } from "./ground.js";
import { readClassNames, showLegend } from "./legend.js";
import { DRAWN, buildUrl, config, createElement, element, fetchJson, formatBandName, formatDegrees, formatNumber, listCogs } from "./page.js";
import { buildQuery, createMap, crossesAntimeridian, showLayers, showMessage, toBounds } from "./view.js";

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

  showLayers(map, layers, {
    bounds,
    deepest,
    chosen: Math.max(0, layers.findIndex((layer) => layer.path === path)),
    home: "Show the whole raster",
    tiles: (layer) => buildUrl({ ...layer, query: [...layer.query, ["tilesize", 512]] }, "tiles/WebMercatorQuad/{z}/{x}/{y}.png"),
    onShow: (layer) => {
      showLegend(layer, item);
      showLinks(layer, item);
      showValuesOnClick(map, layer, item, bounds);
    },
  });
}

start().catch((error) => {
  element("title").textContent = document.title = "This raster cannot be shown";
  showMessage(error.message);
});
