/** The picture of a mel and of the audio made of it, with the controls that play it. */

import { drawMel, Waveform } from "./draw.js";

const LABELS = { playing: "Pause", waiting: "Pause", ended: "Play again" };
const SLOWLY = 250; // milliseconds between two pictures for people who want less motion

const part = (id) => document.getElementById(id);

export class Stage {
  #mel = null;
  #player = null;
  #wave = new Waveform(part("wave"));
  #frame = 0;
  #timer = 0;

  constructor() {
    part("play").addEventListener("click", () => this.#toggle());
    part("seek").addEventListener("input", () => this.#player.seek(part("seek").value * this.#player.rate));
    part("stage").addEventListener("click", (event) => this.#point(event));
    new ResizeObserver(() => this.#redraw()).observe(part("stage"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#redraw());
  }

  /** Show a mel that lasts so many seconds, and nothing made of it yet. */
  show(mel, name, seconds) {
    this.silence();
    this.#mel = mel;
    part("picture").hidden = false;
    part("picture-title").textContent = name;
    part("picture-facts").textContent = `${mel.frames} frames of ${mel.bands} bands, ${seconds.toFixed(2)} s`;
    part("mel").ariaLabel = `Mel spectrogram of ${name}`;
    this.#redraw();
  }

  /** Show and play the audio that a player is handed, from its first sample on. */
  play(player, label) {
    this.silence();
    this.#player = player;
    part("transport").hidden = part("wave").hidden = false;
    part("wave").ariaLabel = label;
    part("seek").max = player.total / player.rate;
    player.addEventListener("change", () => this.#update());
    this.#redraw();
    player.play();
  }

  /** Stop what sounds and take its picture away. */
  silence() {
    this.#player?.close();
    this.#player = null;
    part("transport").hidden = part("wave").hidden = true;
    part("stage").style.removeProperty("--at");
  }

  /** More has arrived: draw it, even while nothing sounds. */
  arrived() {
    if (this.#player?.state !== "playing") this.#update();
  }

  #toggle() {
    if (part("play").textContent === "Pause") this.#player.pause();
    else this.#player.play();
  }

  #point(event) {
    if (!this.#player) return;
    const box = part("stage").getBoundingClientRect();
    this.#player.seek(((event.clientX - box.left) / box.width) * this.#player.total);
    this.#update();
  }

  #redraw() {
    if (!this.#mel) return;
    drawMel(part("mel"), this.#mel);
    if (!this.#player) return;
    this.#wave.reset();
    this.#update();
  }

  #update() {
    if (!this.#player) return;
    const { position, total, rate, samples, arrived, state } = this.#player;
    this.#wave.draw(samples, arrived, position);
    part("stage").style.setProperty("--at", position / total);
    part("play").textContent = LABELS[state] ?? "Play";
    part("seek").value = position / rate;
    part("seek").ariaValueText = `${(position / rate).toFixed(1)} of ${(total / rate).toFixed(1)} seconds`;
    part("time").textContent = `${clock(position / rate)} / ${clock(total / rate)}`;
    if (state === "playing") this.#again();
  }

  /** Once for each picture of the screen, or slowly where less motion is wanted. */
  #again() {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (calm) this.#timer = setTimeout(() => this.#update(), SLOWLY);
    else this.#frame = requestAnimationFrame(() => this.#update());
  }
}

/** Seconds as 1:02.3. */
function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  return `${Math.floor(tenths / 600)}:${((tenths % 600) / 10).toFixed(1).padStart(4, "0")}`;
}
