// A dashboard in the browser: the head, rows and panels of a part of it. draw.mjs calls window.draw.
import "@fontsource/inter/latin-400.css";
import "@fontsource/inter/latin-500.css";
import "uplot/dist/uPlot.min.css";

import { createTheme, dateTime, locationUtil } from "@grafana/data";
import { GlobalStyles, PanelChrome, ThemeContext } from "@grafana/ui";
import { createRoot } from "react-dom/client";

import { framesOf, rangeOf, substitute } from "./frames.mjs";
import { load } from "./load.mjs";
import { Visual } from "./visual.jsx";

const cell = 30; // the height of a unit of Grafana's grid
const gap = 8;
const head = 96;

window.__grafana_public_path__ = "/public/";
locationUtil.initialize({ config: { appSubUrl: "" }, getVariablesUrlParams: () => ({}), getTimeRangeForUrl: () => ({}) });

// draw draws {board, theme, from, to, width, variables, parts}. parts are titles of panels or rows; a
// row stands for its panels. It returns the height of the picture, and what went wrong.
window.draw = async (picture) => {
  await Promise.all(["400 14px Inter", "500 14px Inter"].map((font) => document.fonts.load(font))); // tiles measure their text
  const faults = [];
  const theme = createTheme({ colors: { mode: picture.theme } });
  const panels = arrange(picture.board.panels, picture.parts);
  for (const part of picture.parts) {
    if (part !== "" && !picture.board.panels.some((panel) => panel.title === part)) {
      faults.push(`there is no ${JSON.stringify(part)}`);
    }
  }
  const loaded = await Promise.all(
    panels.map(async (panel) => {
      if (panel.type === "row") {
        return panel;
      }
      try {
        return { ...panel, ...(await load(panel, await framesOf(panel, picture), theme)) };
      } catch (err) {
        faults.push(`${panel.title}: ${err.message}`);
        return { ...panel, fault: err.message };
      }
    }),
  );
  const marks = await annotations(picture);
  const bottom = Math.max(...panels.map(({ gridPos: g }) => g.y + g.h));
  const height = head + bottom * (cell + gap) + gap;
  document.getElementById("root").innerHTML = "";
  createRoot(document.getElementById("root")).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div style={{ background: theme.colors.background.canvas, width: picture.width, height, position: "relative", fontFamily: theme.typography.fontFamily }}>
        <Head picture={picture} theme={theme} />
        {loaded.map((panel) => (
          <Cell key={panel.id} panel={panel} picture={picture} marks={marks} theme={theme} />
        ))}
      </div>
    </ThemeContext.Provider>,
  );
  document.body.style.margin = 0;
  await window.settled();
  return { height, faults };
};

// settled waits until everything is drawn.
window.settled = async () => {
  await document.fonts.ready;
  for (let i = 0; i < 3; i++) {
    await new Promise((next) => setTimeout(next, 150));
    await new Promise((next) => requestAnimationFrame(next));
  }
};

// arrange chooses the panels of the parts, and closes the holes that the others leave.
function arrange(panels, parts) {
  const chosen = [];
  let row = "";
  for (const panel of panels) {
    row = panel.type === "row" ? panel.title : row;
    if (parts.includes(panel.title) || parts.includes(row) || (row === "" && parts.includes(""))) {
      chosen.push(structuredClone(panel));
    }
  }
  const lines = [...new Set(chosen.map((panel) => panel.gridPos.y))].sort((a, b) => a - b);
  let y = 0;
  for (const line of lines) {
    const same = chosen.filter((panel) => panel.gridPos.y === line);
    const tallest = Math.max(...same.map((panel) => panel.gridPos.h));
    same.forEach((panel) => (panel.at = y));
    y += tallest;
  }
  chosen.forEach((panel) => (panel.gridPos.y = panel.at));
  return chosen;
}

// annotations asks when the dashboard's annotations are.
async function annotations(picture) {
  const all = await Promise.all(
    picture.board.annotations.list.map(async ({ name, expr, iconColor }) => {
      const seconds = Math.max(picture.scrape, 60);
      const series = await rangeOf(substitute(expr, { ...picture.variables, __rate_interval: "1m" }), picture, seconds);
      return series.flatMap(({ values }) => spans(values.map(([at]) => at * 1000), seconds * 1000)).map(([start, end]) => ({ name, color: iconColor, start, end }));
    }),
  );
  return all.flat();
}

// spans joins moments that are a step apart.
function spans(times, step) {
  const out = [];
  for (const at of times) {
    const last = out.at(-1);
    if (last && at - last[1] <= step) {
      last[1] = at;
    } else {
      out.push([at, at]);
    }
  }
  return out;
}

function Head({ picture, theme }) {
  const { colors, shape } = theme;
  const box = { border: `1px solid ${colors.border.medium}`, borderRadius: shape.radius.default, padding: "5px 10px", background: colors.background.primary };
  const shown = { $__all: "All", ".+": "All" };
  const time = (at) => dateTime(at).utc().format("YYYY-MM-DD HH:mm");
  return (
    <div style={{ position: "absolute", left: gap * 2, right: gap * 2, top: 0, color: colors.text.primary, fontSize: 13 }}>
      <div style={{ display: "flex", justifyContent: "space-between", alignItems: "center", height: 48 }}>
        <span style={{ fontSize: 17, fontWeight: 500 }}>{picture.board.title}</span>
        <span style={box}>
          {time(picture.from)} to {time(picture.to).slice(11)} UTC
        </span>
      </div>
      <div style={{ display: "flex", gap: 8 }}>
        {picture.board.templating.list
          .filter(({ type }) => type !== "datasource")
          .map(({ name, label, type }) => (
            <span key={name} style={{ display: "flex" }}>
              <span style={{ ...box, borderRight: 0, background: colors.background.secondary, color: colors.text.secondary }}>{label}</span>
              <span style={box}>{type === "adhoc" ? "+" : (shown[picture.variables[name]] ?? picture.variables[name])}</span>
            </span>
          ))}
      </div>
    </div>
  );
}

function Cell({ panel, picture, marks, theme }) {
  const unit = (picture.width - 2 * gap) / 24;
  const { x, y, w, h } = panel.gridPos;
  const place = { position: "absolute", left: gap + x * unit + gap / 2, top: head + y * (cell + gap) };
  const title = substitute(panel.title, picture.variables);
  if (panel.type === "row") {
    return <div style={{ ...place, fontSize: 16, fontWeight: 500, lineHeight: `${cell}px`, color: theme.colors.text.primary }}>⌄ {title}</div>;
  }
  return (
    <div style={place}>
      <PanelChrome width={w * unit - gap} height={h * (cell + gap) - gap} title={title} description={panel.description} padding={panel.type === "table" ? "none" : "md"}>
        {(width, height) => <Visual panel={panel} width={width} height={height} picture={picture} marks={marks} theme={theme} />}
      </PanelChrome>
    </div>
  );
}
