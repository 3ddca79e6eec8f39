// The frame of a picture over time: room around it, axes, and what is drawn on them.
import { count } from "../base/format";
import { inks } from "../state/theme";

/** Room around the picture, in CSS pixels. */
export const LEFT = 46;
export const RIGHT = 12;
export const TOP = 14;
export const BOTTOM = 24;

/** Axes of a picture whose x is tokens seen. */
export function axes(
  context: CanvasRenderingContext2D,
  x: { (value: number): number; ticks(count?: number): number[] },
  y: { (value: number): number; ticks(count?: number): number[] },
  width: number,
  height: number,
  print: (value: number) => string = count,
): void {
  const ink = inks.value;
  context.font = "11px 'IBM Plex Mono', monospace";
  context.fillStyle = ink.muted;
  context.strokeStyle = ink.rule;
  context.lineWidth = 1;
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const tick of y.ticks(Math.max(2, Math.round(height / 36)))) {
    context.beginPath();
    context.moveTo(LEFT, Math.round(y(tick)) + 0.5);
    context.lineTo(width - RIGHT, Math.round(y(tick)) + 0.5);
    context.stroke();
    context.fillText(print(tick), LEFT - 5, y(tick));
  }
  context.textBaseline = "top";
  context.textAlign = "center";
  // The axis is named at its end, where a number gives way to it.
  context.font = "11px 'IBM Plex Sans', sans-serif";
  const title = "tokens seen";
  const titled = width - RIGHT - context.measureText(title).width;
  context.textAlign = "left";
  context.fillText(title, titled, height - BOTTOM + 5);
  context.font = "11px 'IBM Plex Mono', monospace";
  context.textAlign = "center";
  for (const tick of x.ticks(Math.max(2, Math.round(width / 110)))) {
    const text = count(tick);
    if (x(tick) + context.measureText(text).width / 2 > titled - 10) continue;
    context.fillText(text, x(tick), height - BOTTOM + 5);
  }
  context.font = "11px 'IBM Plex Sans', sans-serif";
}

export function marker(context: CanvasRenderingContext2D, x: number, top: number, bottom: number, colour: string, width: number): void {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.beginPath();
  context.moveTo(x, top);
  context.lineTo(x, bottom);
  context.stroke();
}

/** Text with a rim of the page's colour, so that lines it crosses do not strike it through. */
export function haloed(context: CanvasRenderingContext2D, text: string, x: number, y: number, paper: string, ink: string): void {
  context.strokeStyle = paper;
  context.lineWidth = 4;
  context.lineJoin = "round";
  context.strokeText(text, x, y);
  context.fillStyle = ink;
  context.fillText(text, x, y);
}

/** Text on a plate of the page's colour, so that lines behind it do not cross it. */
export function plate(context: CanvasRenderingContext2D, text: string, x: number, y: number, paper: string, ink: string): void {
  const { width, actualBoundingBoxAscent: up, actualBoundingBoxDescent: down } = context.measureText(text);
  const left = context.textAlign === "right" ? x - width : x;
  context.fillStyle = paper;
  context.globalAlpha = 0.85;
  context.fillRect(left - 2, y - up - 1, width + 4, up + down + 2);
  context.globalAlpha = 1;
  context.fillStyle = ink;
  context.fillText(text, x, y);
}
