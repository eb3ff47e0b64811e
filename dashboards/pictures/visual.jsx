// What is inside of a panel. Tables, tiles and graphs are Grafana's own components.
import { getFieldDisplayName, getFieldDisplayValues } from "@grafana/data";
import { BigValue, BigValueTextMode, Table, TimeSeries, VizRepeater } from "@grafana/ui";

import { Heatmap, Timeline } from "./standins.jsx";

export function Visual(props) {
  const { panel, theme, width, height } = props;
  if (panel.fault) {
    return <Note {...props}>{panel.fault}</Note>;
  }
  const Kind = kinds[panel.type];
  const empty = panel.frames.every((frame) => frame.length === 0);
  if (empty && panel.type !== "stat") {
    return (
      <Note width={width} height={height} theme={theme}>
        {panel.fieldConfig.defaults.noValue ?? "No data"}
      </Note>
    );
  }
  return <Kind {...props} />;
}

function Note({ width, height, theme, children }) {
  return <div style={{ width, height, display: "flex", alignItems: "center", justifyContent: "center", fontSize: 16, color: theme.colors.text.secondary }}>{children}</div>;
}

function Tile({ panel, width, height, theme }) {
  const { options, fieldConfig, frames } = panel;
  const values = () => getFieldDisplayValues({ fieldConfig, reduceOptions: options.reduceOptions, replaceVariables: (text) => text, theme, data: frames, timeZone: "utc" });
  return (
    <VizRepeater
      getValues={values} orientation={options.orientation} source={panel} width={width} height={height} itemSpacing={3} renderCounter={0}
      renderValue={({ value, width, height }) => (
        <BigValue
          value={value.display} width={width} height={height} theme={theme} colorMode={options.colorMode} graphMode={options.graphMode}
          justifyMode={options.justifyMode} textMode={options.textMode === "auto" ? BigValueTextMode.Value : options.textMode}
        />
      )}
    />
  );
}

function Rows({ panel, width, height, theme }) {
  const sort = panel.options.sortBy;
  return (
    <div style={{ width, height }}>
      <Table data={panel.frames[0]} width={width} height={height} initialSortBy={sort} cellHeight={panel.options.cellHeight} showTypeIcons={false} columnMinWidth={50} timeRange={{}} fieldConfig={panel.fieldConfig} />
    </div>
  );
}

function Graph({ panel, width, height, picture, marks, theme }) {
  const timeRange = { from: moment(picture.from), to: moment(picture.to), raw: {} };
  // The graph puts all series into one frame, where a field must know its name and where it was.
  panel.frames.forEach((frame, frameIndex) =>
    frame.fields.forEach((field, fieldIndex) => {
      const displayName = getFieldDisplayName(field, frame, panel.frames);
      field.state = { ...field.state, displayName, origin: { frameIndex, fieldIndex } };
      if (field.type === "number") {
        field.name = displayName;
      }
    }),
  );
  return (
    <TimeSeries frames={panel.frames} structureRev={1} timeRange={timeRange} timeZone="utc" width={width} height={height} legend={panel.options.legend} options={panel.options} theme={theme}>
      {(builder) => {
        if (!builder.marked) {
          builder.marked = true;
          builder.addHook("draw", (plot) => drawMarks(plot, marks, theme));
        }
        return null;
      }}
    </TimeSeries>
  );
}

// moment makes what the components need of Grafana's times.
function moment(at) {
  return { valueOf: () => at, unix: () => at / 1000, isValid: () => true };
}

// drawMarks draws annotations: a line at the start, and a bar for as long as it lasts.
function drawMarks(plot, marks, theme) {
  const { ctx, bbox } = plot;
  ctx.save();
  for (const { start, end, color } of marks) {
    const [x, to] = [start, end].map((at) => Math.min(Math.max(plot.valToPos(at, "x", true), bbox.left), bbox.left + bbox.width));
    ctx.strokeStyle = ctx.fillStyle = theme.visualization.getColorByName(color);
    ctx.globalAlpha = 0.12;
    ctx.fillRect(x, bbox.top, to - x, bbox.height);
    ctx.globalAlpha = 1;
    ctx.fillRect(x, bbox.top + bbox.height, Math.max(to - x, 4), 4);
    ctx.setLineDash([4, 4]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

const kinds = { stat: Tile, table: Rows, timeseries: Graph, "state-timeline": Timeline, heatmap: Heatmap };
