/** Two pictures on canvases: a mel, and a waveform that grows and is played. Colours come from the style sheet. */

const QUIET = 0.05; // what is softer than this is drawn as soft as it is

/** Match the canvas to the pixels that it covers. */
export function fit(canvas) {
  canvas.width = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
  canvas.height = Math.max(1, Math.round(canvas.clientHeight * devicePixelRatio));
}

/** The mel `{bands, frames, at}`, low bands below, over the whole canvas. */
export function drawMel(canvas, mel) {
  fit(canvas);
  const columns = Math.min(canvas.width, mel.frames);
  const levels = averages(mel, columns);
  const image = new ImageData(columns, mel.bands);
  const shade = shades(colour(canvas, "--ramp").split(" "), ...range(levels));
  levels.forEach((level, i) => image.data.set(shade(level), 4 * i));
  const small = new OffscreenCanvas(columns, mel.bands);
  small.getContext("2d").putImageData(image, 0, 0);
  canvas.getContext("2d").drawImage(small, 0, 0, canvas.width, canvas.height);
}

/** One number for each band and column, from the highest band down: the mean of the frames that a column covers. */
function averages({ bands, frames, at }, columns) {
  const levels = new Float32Array(bands * columns);
  for (let column = 0; column < columns; column++) {
    const [first, end] = [0, 1].map((side) => Math.floor(((column + side) * frames) / columns));
    for (let band = 0; band < bands; band++) {
      let sum = 0;
      for (let frame = first; frame < end; frame++) sum += at(band, frame);
      levels[(bands - 1 - band) * columns + column] = sum / (end - first);
    }
  }
  return levels;
}

function range(levels) {
  let [low, high] = [Infinity, -Infinity];
  for (const level of levels) {
    if (level < low) low = level;
    if (level > high) high = level;
  }
  return [low, high];
}

/** A function from a level to red, green, blue and alpha, along the colours of a ramp (each `#rrggbb`). */
function shades(ramp, low, high) {
  const stops = ramp.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  return (level) => {
    const place = high > low && level >= low ? ((level - low) / (high - low)) * (stops.length - 1) : 0;
    const before = Math.min(Math.floor(place), stops.length - 2);
    const [one, other] = stops.slice(before, before + 2);
    return [0, 1, 2].map((i) => one[i] + (place - before) * (other[i] - one[i])).concat(255);
  };
}

function colour(element, name) {
  return getComputedStyle(element).getPropertyValue(name).trim();
}

/** The envelope of samples that are still arriving; each pixel's is computed once. */
export class Waveform {
  #columns = 0; // whose extremes are known
  #loudest = QUIET;

  constructor(canvas) {
    this.canvas = canvas;
    this.peaks = [];
  }

  /** Forget what is drawn, and match the canvas again: for other samples, or another size. */
  reset() {
    fit(this.canvas);
    this.#columns = 0;
    this.#loudest = QUIET;
    this.peaks = new Float32Array(2 * this.canvas.width);
  }

  /** Draw what has arrived of the samples; what has been played is in another colour. */
  draw(samples, arrived, played) {
    const { width, height } = this.canvas;
    this.#extend(samples, arrived);
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    const mark = Math.round((played / samples.length) * width);
    this.#bars(context, 0, Math.min(mark, this.#columns), "--played");
    this.#bars(context, mark, this.#columns, "--wave");
  }

  #extend(samples, arrived) {
    const wide = samples.length / this.canvas.width;
    for (; Math.floor((this.#columns + 1) * wide) <= arrived && this.#columns < this.canvas.width; this.#columns++) {
      const first = Math.floor(this.#columns * wide);
      const end = Math.max(first + 1, Math.floor((this.#columns + 1) * wide));
      const [low, high] = range(samples.subarray(first, end));
      this.peaks.set([low, high], 2 * this.#columns);
      this.#loudest = Math.max(this.#loudest, -low, high);
    }
  }

  #bars(context, first, end, name) {
    const middle = this.canvas.height / 2;
    const scale = (0.92 * middle) / this.#loudest;
    context.fillStyle = colour(this.canvas, name);
    for (let x = first; x < end; x++) {
      const [low, high] = this.peaks.subarray(2 * x, 2 * x + 2);
      context.fillRect(x, middle - scale * high, 1, Math.max(scale * (high - low), devicePixelRatio));
    }
  }
}
