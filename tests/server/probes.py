"""Scripts that tests run in the page: what it plays, and what its reader meets."""

__all__ = ["CONTRAST", "FOCUSED", "HEARD", "HEIGHTS", "IDS", "NOTES", "WATCH"]

# Ahead of the page's own: notes every piece of audio that it starts, and when, and what came of that.
WATCH = """
window.pieces = [];
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when) {
  const { context, buffer } = this;
  const [now, samples] = [context.currentTime, buffer.getChannelData(0).slice()];
  const piece = { when, now, samples, buffer, context };
  this.addEventListener("ended", () => (piece.ended = context.currentTime));
  pieces.push(piece);
  return start.call(this, when);
};
"""

NOTES = """pieces.map(({ when, now, ended, buffer, context }) =>
  ({ when, now, ended, length: buffer.length, rate: buffer.sampleRate, context: context.sampleRate }))"""

# What a sound card makes of these pieces at these times, from the first of them on: 16-bit PCM in base64.
HEARD = """(async () => {
  const played = [...pieces];
  const [first, last, rate] = [played[0], played.at(-1), played[0].buffer.sampleRate];
  const context = new OfflineAudioContext(1, Math.round(last.when * rate) + last.samples.length, rate);
  for (const { when, samples } of played) {
    const source = context.createBufferSource();
    source.buffer = context.createBuffer(1, samples.length, rate);
    source.buffer.copyToChannel(samples, 0);
    source.connect(context.destination);
    source.start(when);
  }
  const heard = (await context.startRendering()).getChannelData(0).slice(Math.round(first.when * rate));
  const pcm = new Uint8Array(Int16Array.from(heard, (sample) => Math.round(sample * 32768)).buffer);
  return btoa(Array.from(pcm, (byte) => String.fromCharCode(byte)).join(""));
})()"""

# The weakest contrast of any text with what lies behind it, as WCAG reckons it, and whose it is.
CONTRAST = """(() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => rgb.slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    const colour = parse(getComputedStyle(e).backgroundColor);
    return colour.length === 3 || colour[3] === 1 ? colour : behind(e.parentElement);
  };
  const texts = [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility() && !e.disabled
    && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) && e.tagName !== "OPTION");
  const ratio = (e) => {
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  return texts.map((e) => [ratio(e), e.id || e.innerText]).sort((a, b) => a[0] - b[0])[0];
})()"""

HEIGHTS = """[...document.querySelectorAll("button, select, input:not([type=file])")]
  .filter((e) => e.checkVisibility()).map((e) => e.getBoundingClientRect().height)"""

IDS = """[...document.querySelectorAll("[id]")].map((e) => e.id)"""

FOCUSED = "document.activeElement.id || document.activeElement.tagName"
