/** 16-bit PCM: from the bytes of a stream to samples in [-1, 1), and from those to a WAV file. */

/** Cuts a stream of bytes into samples; a chunk may end in the middle of one. */
export class PcmReader {
  #rest = new Uint8Array(0);

  /** The samples that this chunk (a Uint8Array) completes. */
  push(chunk) {
    const bytes = new Uint8Array(this.#rest.length + chunk.length);
    bytes.set(this.#rest);
    bytes.set(chunk, this.#rest.length);
    const whole = bytes.length - (bytes.length % 2);
    this.#rest = bytes.slice(whole);
    const view = new DataView(bytes.buffer, 0, whole);
    return Float32Array.from({ length: whole / 2 }, (_, i) => view.getInt16(2 * i, true) / 32768);
  }
}

/** A WAV file of these samples, which came from 16 bits and go back to the same. */
export function wavFile(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // mono
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, i) => view.setInt16(44 + 2 * i, Math.round(sample * 32768), true));
  return new Blob([view], { type: "audio/wav" });
}
