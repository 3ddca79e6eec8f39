// A canvas that draws itself: sized to its box, sharp on any screen, redrawn when a signal it read changes.
import { effect, signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

/** What a drawing gets: a context in CSS pixels, and the box's size. */
export interface Surface {
  context: CanvasRenderingContext2D;
  width: number;
  height: number;
  /** Device pixels to a CSS pixel. */
  ratio: number;
}

export interface PlotProps {
  /** Says in words what the picture shows; for those who do not see it. */
  label: string;
  draw(surface: Surface): void;
  class?: string;
  onPointerMove?: (event: PointerEvent) => void;
  onPointerLeave?: (event: PointerEvent) => void;
  onPointerDown?: (event: PointerEvent) => void;
  onPointerUp?: (event: PointerEvent) => void;
  /** The browser took the gesture over, to scroll. */
  onPointerCancel?: (event: PointerEvent) => void;
  onClick?: (event: MouseEvent) => void;
  onDblClick?: (event: MouseEvent) => void;
  onWheel?: (event: WheelEvent) => void;
  /** Height in CSS pixels where the box does not give it. */
  height?: number;
  /** What stands over the canvas. */
  children?: ComponentChildren;
}

export function Plot(props: PlotProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const latest = useRef(props);
  latest.current = props;
  const drawn = useRef(signal(0));
  useEffect(() => {
    const element = canvas.current;
    const box = element?.parentElement;
    if (!element || !box) return;
    const size = signal({ width: box.clientWidth, height: box.clientHeight });
    const watcher = new ResizeObserver(() => (size.value = { width: box.clientWidth, height: box.clientHeight }));
    watcher.observe(box);
    const again = () => (size.value = { ...size.peek() });
    addEventListener("painter-changed", again);
    // Text drawn before its font was there is drawn again.
    document.fonts.addEventListener("loadingdone", again);
    // Drawing happens in a frame, so that a hundred changes draw once; what it read is watched until it changes.
    let frame = 0;
    let unwatch = () => {};
    const schedule = () => {
      frame ||= requestAnimationFrame(run);
    };
    const run = () => {
      frame = 0;
      unwatch();
      let done = false;
      unwatch = effect(() => {
        if (done) return schedule();
        done = true;
        void drawn.current.value;
        const { width, height } = size.value;
        if (width > 0 && height > 0) paint(element, width, height, latest.current.draw);
      });
    };
    run();
    const wheel = (event: WheelEvent) => latest.current.onWheel?.(event);
    element.addEventListener("wheel", wheel, { passive: false });
    return () => {
      unwatch();
      cancelAnimationFrame(frame);
      watcher.disconnect();
      removeEventListener("painter-changed", again);
      document.fonts.removeEventListener("loadingdone", again);
      element.removeEventListener("wheel", wheel);
    };
  }, []);
  // A new closure may draw something else.
  useEffect(() => {
    drawn.current.value += 1;
  }, [props.draw]);
  return (
    <div class={`plot ${props.class ?? ""}`} style={props.height ? { height: `${props.height}px` } : undefined}>
      <canvas
        ref={canvas}
        role="img"
        aria-label={props.label}
        onPointerMove={props.onPointerMove}
        onPointerLeave={props.onPointerLeave}
        onPointerDown={props.onPointerDown}
        onPointerUp={props.onPointerUp}
        onPointerCancel={props.onPointerCancel}
        onClick={props.onClick}
        onDblClick={props.onDblClick}
      />
      {props.children}
    </div>
  );
}

function paint(canvas: HTMLCanvasElement, width: number, height: number, draw: (surface: Surface) => void): void {
  const ratio = Math.min(devicePixelRatio || 1, 3);
  const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== across) canvas.width = across;
  if (canvas.height !== down) canvas.height = down;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  if (!context) return;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.imageSmoothingEnabled = false;
  draw({ context, width, height, ratio });
}

/** Where the pointer is in the canvas, in CSS pixels. */
export function pointIn(event: MouseEvent): { x: number; y: number } {
  const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}
