// A painted picture that is kept until what it shows changes, so that moving the pointer repaints lines and no cells.

export class KeptPicture {
  private readonly canvas = document.createElement("canvas");
  private made: readonly unknown[] | undefined;

  /** The picture made of `parts`; `paint` is called only when one of them is another than last time. */
  of(parts: readonly unknown[], width: number, height: number, paint: () => CanvasImageSource): CanvasImageSource {
    const all = [width, height, ...parts];
    if (this.made && this.made.length === all.length && this.made.every((part, i) => Object.is(part, all[i]))) return this.canvas;
    const picture = paint();
    this.canvas.width = width;
    this.canvas.height = height;
    this.canvas.getContext("2d")?.drawImage(picture, 0, 0);
    this.made = all;
    return this.canvas;
  }
}
