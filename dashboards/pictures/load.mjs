// Applies a panel's transformations, mappings, thresholds and overrides to its frames, with Grafana's
// own code.
import * as grafana from "@grafana/data";
import { lastValueFrom } from "rxjs";
import { pluginOf, register } from "../grafana/editor.mjs";

register(grafana);

// The options of fields that the panels have beside the standard ones, with their defaults. Grafana
// publishes the panels themselves nowhere.
const custom = {
  timeseries: {
    drawStyle: "line", lineInterpolation: "linear", lineWidth: 1, fillOpacity: 0, gradientMode: "none", barAlignment: 0, barWidthFactor: 0.6, lineStyle: { fill: "solid" },
    stacking: { mode: "none", group: "A" }, axisGridShow: true, axisCenteredZero: false, axisBorderShow: false, axisPlacement: "auto", axisLabel: "", axisColorMode: "text",
    scaleDistribution: { type: "linear" }, hideFrom: { tooltip: false, viz: false, legend: false }, spanNulls: false, insertNulls: false, showPoints: "auto", pointSize: 5,
    thresholdsStyle: { mode: "off" },
  },
  table: { align: "auto", cellOptions: { type: "auto" }, inspect: false, filterable: false, width: undefined, minWidth: 50, hidden: false },
  stat: {},
  "state-timeline": { lineWidth: 0, fillOpacity: 70, spanNulls: false, insertNulls: false, hideFrom: { tooltip: false, viz: false, legend: false } },
  heatmap: { hideFrom: { tooltip: false, viz: false, legend: false }, scaleDistribution: { type: "linear" } },
};

// load returns the options of the panel and its frames as they are shown.
export async function load(panel, frames, theme) {
  const plugin = pluginOf(grafana, panel.type, custom[panel.type]);
  const { options, fieldConfig } = grafana.getPanelOptionsWithDefaults({ plugin, currentOptions: panel.options, currentFieldConfig: panel.fieldConfig, isAfterPluginChange: false });
  fieldConfig.defaults.custom = { ...custom[panel.type], ...fieldConfig.defaults.custom };
  const data = await lastValueFrom(grafana.transformDataFrame(panel.transformations ?? [], frames));
  const shown = grafana.applyFieldOverrides({
    data, fieldConfig, fieldConfigRegistry: plugin.fieldConfigRegistry, replaceVariables: (text) => text, theme, timeZone: "utc",
  });
  return { options, fieldConfig, frames: shown };
}
