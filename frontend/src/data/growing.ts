// Columns that grow while a run goes on: written at the end, with room kept so that growing costs little.

type Column = Float32Array | Float64Array | Uint32Array | Uint16Array | Uint8Array;

/** Buffers made here; one that came from elsewhere may hold other columns after the end of this one. */
const roomy = new WeakSet<ArrayBufferLike>();

/** The column with `value` at `index`, which is at most its length. The column given must not be used afterwards. */
export function put<C extends Column>(column: C, index: number, value: number): C {
  const grown = index < column.length ? column : withLength(column, index + 1);
  grown[index] = value;
  return grown;
}

function withLength<C extends Column>(column: C, length: number): C {
  const make = column.constructor as new (from: ArrayBufferLike | number, offset?: number, length?: number) => C;
  if (roomy.has(column.buffer) && length * column.BYTES_PER_ELEMENT <= column.buffer.byteLength) {
    return new make(column.buffer, 0, length);
  }
  const all = new make(Math.max(256, 2 * length));
  all.set(column);
  roomy.add(all.buffer);
  return new make(all.buffer, 0, length);
}
