// Scrolls to a place whose height above is not known yet: looks, corrects, and looks again until nothing moves.

/** Frames that a jump may take to settle. */
const SETTLE = 40;
/** Frames in sight after which it has. */
const STILL = 3;
/** Room that a target keeps from the edges, in CSS pixels. */
const EDGE = 25;

export class Jump {
  private frame = 0;

  constructor(private readonly scroller: HTMLElement) {}

  /** Brings an element into sight, if it is not; `done` when it stays there. */
  to(target: () => HTMLElement | undefined, done: () => void): void {
    this.stop();
    let [tries, still] = [0, 0];
    const step = () => {
      const element = target();
      if (!element) return done();
      const [at, box] = [element.getBoundingClientRect(), this.scroller.getBoundingClientRect()];
      const isSeen = at.top >= box.top + EDGE && at.bottom <= box.bottom - EDGE;
      // A little above the middle, where the eye reads on from.
      if (!isSeen) this.scroller.scrollTop += at.top - box.top - 0.35 * box.height;
      still = isSeen ? still + 1 : 0;
      tries += 1;
      if (still < STILL && tries < SETTLE) this.frame = requestAnimationFrame(step);
      else done();
    };
    step();
  }

  /** Leaves it where it is: the reader scrolls. */
  stop(): void {
    cancelAnimationFrame(this.frame);
  }
}
