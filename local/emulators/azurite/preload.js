// Azurite keeps what it knows of blobs in LokiJS, saved every 5 s: kill -9 forgets acknowledged
// uploads. Saving 25 times as often is cheap, for LokiJS saves only after a change.
const { createRequire } = require("node:module");
const Loki = createRequire(process.argv[1])("lokijs");

const configureOptions = Loki.prototype.configureOptions;
Loki.prototype.configureOptions = function (options, initialConfig) {
  return configureOptions.call(this, { ...options, autosaveInterval: 200 }, initialConfig);
};
