// Heads over any two scores.
import { useRef } from "preact/hooks";
import { number } from "../base/format";
import { scoreRange, scoreWords } from "../base/score_words";
import { here, type Trace } from "../data/trace";
import { inks, roleColour } from "../state/theme";
import { hover, hoverHead, show, view } from "../state/view";
import { Panel, type TableData } from "./panel";
import { Plot, type Surface, pointIn } from "./plot";
import { axisOf } from "./scatter_axis";

interface Dot {
  layer: number;
  head: number;
  role: string;
  x: number;
  y: number;
}

const LEFT = 40;
const BOTTOM = 26;

export function Scatter({ trace, names }: { trace: Trace; names: readonly string[] }) {
  const placed = useRef<Dot[]>([]);
  const [across, up] = view.value.scatter;
  const points = (): Dot[] =>
    (here(trace.heads) ?? []).flatMap(({ layer, head, role, ...scores }) => {
      const [x, y] = [scores[across], scores[up]];
      return typeof x === "number" && typeof y === "number" ? [{ layer, head, role, x, y }] : [];
    });
  const draw = ({ context, width, height }: Surface) => {
    const dots = points();
    const x = axisOf(dots.map((dot) => dot.x), [LEFT, width - 8], scoreRange(across));
    const y = axisOf(dots.map((dot) => dot.y), [height - BOTTOM, 6], scoreRange(up));
    const ink = inks.value;
    context.font = "10px 'IBM Plex Mono', monospace";
    context.fillStyle = ink.muted;
    context.strokeStyle = ink.rule;
    context.lineWidth = 1;
    context.textAlign = "center";
    context.textBaseline = "top";
    for (const tick of x.ticks) {
      line(context, x.at(tick), 6, x.at(tick), height - BOTTOM);
      // Labels stay inside of the picture, and beside the other axis' where both begin.
      const half = context.measureText(number(tick)).width / 2;
      context.fillText(number(tick), Math.min(width - half - 1, Math.max(LEFT + half - 2, x.at(tick))), height - BOTTOM + 6);
    }
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const tick of y.ticks) {
      line(context, LEFT, y.at(tick), width - 8, y.at(tick));
      context.fillText(number(tick), LEFT - 4, Math.min(height - BOTTOM - 4, Math.max(6, y.at(tick))));
    }
    placed.current = dots.map((dot) => ({ ...dot, x: x.at(dot.x), y: y.at(dot.y) }));
    const chosen = view.value;
    for (const dot of placed.current) {
      const isChosen = dot.layer === chosen.layer && dot.head === chosen.head;
      const isHovered = dot.layer === hover.layer.value && dot.head === hover.head.value;
      context.beginPath();
      context.arc(dot.x, dot.y, isChosen || isHovered ? 5 : 3.5, 0, 2 * Math.PI);
      context.fillStyle = roleColour(dot.role);
      context.globalAlpha = 0.9;
      context.fill();
      context.globalAlpha = 1;
      if (isChosen || isHovered) {
        context.strokeStyle = isChosen ? ink.accent : ink.ink;
        context.lineWidth = 1.5;
        context.stroke();
      }
    }
  };
  const nearest = (event: MouseEvent): Dot | undefined => {
    const { x, y } = pointIn(event);
    const far = (dot: Dot) => (dot.x - x) ** 2 + (dot.y - y) ** 2;
    const best = placed.current.reduce<Dot | undefined>((best, dot) => (!best || far(dot) < far(best) ? dot : best), undefined);
    return best && far(best) < 15 ** 2 ? best : undefined;
  };
  const choose = (which: 0 | 1) => (
    <label class="field axis">
      <span class="sr">{which === 0 ? "Score to the right" : "Score upwards"}</span>
      {which === 0 ? "→" : "↑"}
      <select
        value={view.value.scatter[which]}
        title={scoreWords(view.value.scatter[which])}
        onChange={(event) => show({ scatter: which === 0 ? [event.currentTarget.value, up] : [across, event.currentTarget.value] })}
      >
        {names.map((name) => (
          <option value={name} title={scoreWords(name)}>{name.replaceAll("_", " ")}</option>
        ))}
      </select>
    </label>
  );
  const table = (): TableData => ({
    caption: `Heads by ${across} and ${up}`,
    columns: ["layer", "head", "role", across, up],
    rows: points().map((dot) => [dot.layer, dot.head, dot.role, Number(dot.x.toPrecision(4)), Number(dot.y.toPrecision(4))]),
  });
  return (
    <Panel title="Scores" class="scatter" table={table} tools={<>{choose(1)}{choose(0)}</>}>
      <Plot
        label={`Heads over ${across.replaceAll("_", " ")} (to the right) and ${up.replaceAll("_", " ")} (upwards)`}
        draw={draw}
        onPointerMove={(event) => hoverHead(nearest(event))}
        onPointerLeave={() => hoverHead(undefined)}
        onClick={(event) => {
          const dot = nearest(event);
          if (dot) show({ layer: dot.layer, head: dot.head });
        }}
      />
    </Panel>
  );
}

function line(context: CanvasRenderingContext2D, x0: number, y0: number, x1: number, y1: number): void {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}
