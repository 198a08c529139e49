/* The background of the raster: land, a grid of degrees, a map of the region. */

import { computeTicks, config, element, fetchJson, formatDegrees } from "./page.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const readColor = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export async function drawBackground(map) {
  map.createPane("ground").style.zIndex = 150;
  if (config.basemap) {
    L.tileLayer(config.basemap, { maxZoom: 24, maxNativeZoom: 19 }).addTo(map);
    return null;
  }
  map.attributionControl.addAttribution("Natural Earth");
  const land = await fetchJson(`${config.static}land.json`);
  drawLand(map, land, "ground");
  drawGrid(map);
  return land;
}

/* Drawn three times, because a raster may cross the antimeridian. */
function drawLand(map, land, pane) {
  const style = () => ({ weight: 1, color: readColor("--coast"), fillColor: readColor("--land"), fillOpacity: 1 });
  for (const shift of [-360, 0, 360]) {
    const coordinates = land.coordinates.map((part) => part.map((ring) => ring.map(([x, y]) => [x + shift, y])));
    const drawn = L.geoJSON({ type: "MultiPolygon", coordinates }, { pane, interactive: false, style });
    drawn.addTo(map);
    dark.addEventListener("change", () => drawn.setStyle(style()));
  }
}

function drawGrid(map) {
  const grid = L.layerGroup().addTo(map);
  const line = (points, text, label, shape) => {
    L.polyline(points, { pane: "ground", interactive: false, weight: 1, color: readColor("--grid") }).addTo(grid);
    const icon = L.divIcon({ className: `degrees ${shape}`, html: text, iconSize: null });
    L.marker(label, { pane: "ground", interactive: false, keyboard: false, icon, zIndexOffset: 9999 }).addTo(grid);
  };
  const draw = () => {
    grid.clearLayers();
    const view = map.getBounds();
    const [south, north] = [Math.max(view.getSouth(), -85.05), Math.min(view.getNorth(), 85.05)];
    const count = Math.max(2, Math.round(map.getSize().x / 180));
    for (const x of computeTicks(view.getWest(), view.getEast(), count)) {
      const there = ((x + 540) % 360) - 180;
      line([[south, x], [north, x]], formatDegrees(Number(there.toFixed(9)), "EW"), [view.getNorth(), x], "meridian");
    }
    for (const y of computeTicks(south, north, Math.max(2, Math.round(map.getSize().y / 180)))) {
      line([[y, view.getWest()], [y, view.getEast()]], formatDegrees(y, "NS"), [y, view.getWest()], "parallel");
    }
  };
  map.on("moveend", draw);
  dark.addEventListener("change", draw);
  draw();
}

/* Not for what is a map of the region itself. */
export function drawRegion(land, bounds) {
  if (bounds.getEast() - bounds.getWest() > 50) return;
  element("region").hidden = false;
  const still = ["dragging", "touchZoom", "doubleClickZoom", "scrollWheelZoom", "boxZoom", "keyboard", "zoomControl", "attributionControl"];
  const region = L.map("region", { ...Object.fromEntries(still.map((name) => [name, false])), zoomSnap: 0 });
  region.setView(bounds.getCenter(), 1.2);
  drawLand(region, land, "overlayPane");
  L.rectangle(bounds, { interactive: false, color: readColor("--mark"), weight: 2 }).addTo(region);
  L.circleMarker(bounds.getCenter(), { interactive: false, color: readColor("--mark"), radius: 3, fillOpacity: 1 }).addTo(region);
}
