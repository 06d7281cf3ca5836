/** `.npy` files, as far as a mel needs them: two axes of little-endian floating point. */

const MAGIC = "\x93NUMPY";

const READERS = {
  "<f2": [2, (view, at) => half(view.getUint16(at, true))],
  "<f4": [4, (view, at) => view.getFloat32(at, true)],
  "<f8": [8, (view, at) => view.getFloat64(at, true)],
};

/** Whether the file begins as a `.npy` file does. */
export function isNpy(buffer) {
  return latin1(buffer, 0, MAGIC.length) === MAGIC;
}

/**
 * The mel in a file: `{bands, frames, layout, at(band, frame)}`. `layout` says which way round the file has it, as
 * the service's parameter of that name does. Throws an Error in words for a person.
 */
export function readMel(buffer, bands) {
  const { shape, fortran, descr, start } = header(buffer);
  if (!(descr in READERS)) throw new Error(`This array is of type ${descr}; a mel is of floating point.`);
  const layout = shape.length === 2 && shape[0] !== bands && shape[1] === bands ? "LM" : "ML";
  const [rows, columns] = shape;
  const frames = layout === "ML" ? columns : rows;
  if (shape.length !== 2 || (layout === "ML" && rows !== bands) || !frames) {
    throw new Error(`This array has the shape [${shape.join(", ")}]; a mel of this model is [${bands}, frames].`);
  }
  const [size, read] = READERS[descr];
  const view = new DataView(buffer, start);
  if (view.byteLength !== size * rows * columns) throw new Error("This file is longer or shorter than it says.");
  const element = (row, column) => read(view, size * (fortran ? column * rows + row : row * columns + column));
  const at = layout === "ML" ? element : (band, frame) => element(frame, band);
  return { bands, frames, layout, at };
}

function header(buffer) {
  const view = new DataView(buffer);
  if (!isNpy(buffer) || buffer.byteLength < 12) throw new Error("This is no .npy file.");
  const [at, length] = view.getUint8(6) === 1 ? [10, view.getUint16(8, true)] : [12, view.getUint32(8, true)];
  const start = at + length;
  const text = latin1(buffer, at, Math.min(length, 4096));
  const found = text.match(/'descr':\s*'([^']+)'.*'fortran_order':\s*(True|False).*'shape':\s*\(([\d\s,]*)\)/s);
  if (!found || start > buffer.byteLength) throw new Error("The header of this .npy file cannot be read.");
  const [, descr, order, sizes] = found;
  return { descr, start, fortran: order === "True", shape: sizes.split(",").filter((size) => size.trim()).map(Number) };
}

function latin1(buffer, at, length) {
  return String.fromCharCode(...new Uint8Array(buffer.slice(at, at + length)));
}

/** IEEE 754 half precision, from its bits; not every browser has `getFloat16`. */
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 0x3ff;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction);
}
