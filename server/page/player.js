/**
 * Plays audio while it arrives, without clicks.
 *
 * Every piece is an AudioBuffer of the context's own rate, started at a whole number of its samples right behind the
 * piece before it, so that nothing is resampled and nothing lies between two pieces. (An AudioWorklet would do as
 * well, but browsers have none on plain http, where a service on one's own network is often found.)
 *
 * If audio comes more slowly than it is played, the sound stops, and goes on once LEAD seconds lie ready.
 */

const LEAD = 0.25; // seconds that have to lie ready before sound starts
const NOTICE = 0.05; // seconds from now to the first sample of a run: a start in the past comes too late
const SLACK = 0.01; // seconds that a piece has to come before its turn

export class Player extends EventTarget {
  #pieces = new Set();
  #wanted = false; // whether it should sound as soon as it can
  #anchor = 0; // where sample 0 lies on the context's clock, in samples
  #from = 0; // where the present run began
  #next = 0; // the first sample that is not scheduled; equal to #from where there is no run

  /** For `total` samples at the rate of the context. It tells of a "change" of `state`. */
  constructor(context, total) {
    super();
    this.context = context;
    this.samples = new Float32Array(total);
    this.arrived = 0;
    this.state = "paused";
  }

  get rate() {
    return this.context.sampleRate;
  }

  get total() {
    return this.samples.length;
  }

  /** The sample that is being heard. */
  get position() {
    if (this.#next === this.#from) return this.#from;
    const now = Math.round(this.context.currentTime * this.rate) - this.#anchor;
    return Math.min(Math.max(now, this.#from), this.#next);
  }

  /** Take what has arrived; what is beyond `total` is refused. */
  push(samples) {
    if (this.arrived + samples.length > this.total) throw new Error("More audio came than was promised.");
    this.samples.set(samples, this.arrived);
    this.arrived += samples.length;
    this.#schedule();
  }

  /** Go on, or begin again at the end. The first time, this has to be somebody's click or key. */
  async play() {
    if (this.state === "ended") this.#restart(0);
    this.#wanted = true;
    const resumed = this.context.resume();
    this.#schedule();
    await resumed;
  }

  /** Stop where it is. */
  async pause() {
    this.#wanted = false;
    this.#tell("paused");
    await this.context.suspend();
  }

  /** Go to a sample, or as near to it as has arrived. */
  seek(sample) {
    this.#restart(Math.max(0, Math.min(Math.round(sample), this.arrived)));
    if (this.#wanted) this.#schedule();
    else this.#tell("paused");
  }

  /** Be silent for good. */
  close() {
    this.#wanted = false;
    this.#restart(this.#from);
    this.#tell("closed");
  }

  #restart(sample) {
    for (const piece of this.#pieces) {
      piece.onended = null;
      piece.stop();
    }
    this.#pieces.clear();
    this.#from = this.#next = sample;
  }

  #schedule() {
    if (!this.#wanted) return;
    if (this.#next < this.arrived && (this.#inTime() || this.#begin())) this.#start();
    if (this.#pieces.size) this.#tell("playing");
    else this.#rest();
  }

  /** Whether the next piece can still be put right behind the last one. */
  #inTime() {
    const room = (this.#anchor + this.#next) / this.rate - this.context.currentTime;
    return this.#next > this.#from && room > SLACK;
  }

  /** Begin a run at the next sample, if enough lies ready. */
  #begin() {
    const ready = this.arrived - this.#next;
    if (ready < LEAD * this.rate && this.arrived < this.total) return false;
    this.#from = this.#next;
    this.#anchor = Math.ceil((this.context.currentTime + NOTICE) * this.rate) - this.#next;
    return true;
  }

  #start() {
    const samples = this.samples.subarray(this.#next, this.arrived);
    const piece = this.context.createBufferSource();
    piece.buffer = this.context.createBuffer(1, samples.length, this.rate);
    piece.buffer.copyToChannel(samples, 0);
    piece.connect(this.context.destination);
    piece.onended = () => this.#ended(piece);
    piece.start((this.#anchor + this.#next) / this.rate);
    this.#pieces.add(piece);
    this.#next = this.arrived;
  }

  #ended(piece) {
    this.#pieces.delete(piece);
    if (!this.#pieces.size) this.#rest();
  }

  /** Nothing sounds: there is no more, or not yet. */
  #rest() {
    this.#from = this.#next;
    const over = this.#next === this.total;
    this.#wanted &&= !over;
    if (over || this.#wanted) this.#tell(over ? "ended" : "waiting");
  }

  #tell(state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }
}
