/** The page: a file, what is wished of its voice, and the audio that comes of it. */

import { Api } from "./api.js";
import { askKey } from "./key.js";
import { attempt, done, say } from "./messages.js";
import { isNpy, readMel } from "./npy.js";
import { PcmReader, wavFile } from "./pcm.js";
import { Player } from "./player.js";
import { Stage } from "./stage.js";

const EXAMPLE = "page/example.npy";
const LOADING = 2; // seconds until a service that is still loading is asked again
const BROKEN = "The audio ended before its time: the connection broke.";

const part = (id) => document.getElementById(id);
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

const api = new Api(askKey);
const stage = new Stage();
let cards = new Map(); // of the models, by id
let source = null; // {file, body, mel}: what the audio is made of; body is a .npy file
let made = null; // {body, wishes, player, stem}: what was made last
let run = null; // the AbortController of what is being made
let opening = null; // the file that was asked for last
let audio = null; // the AudioContext

async function listModels() {
  say("Asking for the models…");
  const list = await models();
  cards = new Map(list.map((card) => [card.id, card]));
  part("model").replaceChildren(...list.map(({ id, default: chosen }) => new Option(id, id, chosen, chosen)));
  part("model").disabled = false;
  chooseModel();
  say("");
}

async function models() {
  for (;;) {
    try {
      return await api.models();
    } catch (error) {
      if (error.status !== 503) throw error;
      say("The voice is loading…");
      await pause(error.retryAfter ?? LOADING);
    }
  }
}

function card() {
  return cards.get(part("model").value);
}

function chooseModel() {
  const { architecture, sample_rate: rate, licence, temperature } = card();
  part("model-hint").textContent = `${architecture}, ${rate / 1000} kHz, ${licence}`;
  part("temperature").value = temperature;
  showNumbers();
  if (source) attempt(() => open(source.file));
}

function showNumbers() {
  for (const name of ["temperature", "denoise"]) part(`${name}-out`).value = Number(part(name).value).toFixed(2);
}

/** Take a file: a mel as it is, the mel of anything else. */
async function open(file) {
  run?.abort();
  if (!card()) throw new Error("No voice has answered yet.");
  opening = file;
  say(`Reading ${file.name}…`);
  const bytes = await file.arrayBuffer();
  const body = isNpy(bytes) || file.name.endsWith(".npy") ? bytes : await api.mel(file, card().id);
  if (opening !== file) return; // another one was chosen meanwhile
  const { sample_rate: rate, mel: spec } = card();
  const mel = readMel(body, spec.n_mels);
  source = { file, body, mel };
  stage.show(mel, file.name, (mel.frames * spec.hop_length) / rate);
  part("speak").disabled = false;
  done(`${file.name} is ready to be spoken.`);
}

async function openExample() {
  const answer = await fetch(new URL(EXAMPLE, document.baseURI));
  if (!answer.ok) throw new Error("The example cannot be had.");
  await open(new File([await answer.blob()], "example.npy"));
}

function wishes() {
  const [seed, denoise] = [part("seed").value, Number(part("denoise").value)];
  return {
    model: card().id,
    layout: source.mel.layout,
    temperature: part("temperature").value,
    ...(seed && { seed }),
    ...(denoise && { denoise }),
  };
}

/** Have the mel spoken, and play it while it is made; asked meanwhile, stop. */
async function speak() {
  if (run) return stop();
  run = new AbortController();
  working(true);
  try {
    await make(run.signal);
  } catch (error) {
    stage.silence();
    throw error;
  } finally {
    run = null;
    working(false);
  }
}

function stop() {
  done("Stopped.");
  run.abort();
}

function working(yes) {
  part("speak").textContent = yes ? "Stop" : "Speak";
  part("speak").formNoValidate = yes;
}

async function make(signal) {
  const { body, file } = source;
  const asked = performance.now();
  stage.silence();
  keep(null);
  const context = audioAt(card().sample_rate); // here, in the click that allows it to sound
  say("Speaking…");
  const wished = wishes();
  const answer = await api.vocode(body, { ...wished, format: "pcm", stream: true }, signal);
  const [samples, seed] = ["X-Audio-Samples", "X-Seed"].map((name) => answer.headers.get(name));
  const player = new Player(context, Number(samples));
  stage.play(player, `Waveform of what was made of ${file.name}`);
  const first = await receive(answer, player);
  const seconds = player.total / player.rate;
  const [soon, whole] = [first, performance.now()].map((time) => (time - asked) / 1000);
  tell({ Seed: seed, "First audio after": `${soon.toFixed(2)} s`, Speed: `${(seconds / whole).toFixed(1)} × real time` });
  keep({ body, player, wishes: { ...wished, seed }, stem: `${file.name.replace(/\.\w+$/, "")}-${seed}` });
  done(`${seconds.toFixed(2)} seconds of speech.`);
}

/** Hand what arrives to the player; the time at which the first of it came. */
async function receive(answer, player) {
  const pcm = new PcmReader();
  let first = 0;
  for await (const chunk of pieces(answer.body.getReader())) {
    first ||= performance.now();
    player.push(pcm.push(chunk));
    stage.arrived();
  }
  if (player.arrived < player.total) throw new Error(BROKEN);
  return first;
}

async function* pieces(reader) {
  for (;;) {
    const { done: over, value } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : new Error(BROKEN);
    });
    if (over) return;
    yield value;
  }
}

/** A context of exactly this rate, so that the browser resamples nothing. */
function audioAt(rate) {
  if (audio?.sampleRate === rate) return audio;
  audio?.close();
  audio = new AudioContext({ sampleRate: rate });
  return audio;
}

/** Facts about what was made, name by name. */
function tell(facts) {
  const element = (tag, content) => Object.assign(document.createElement(tag), { textContent: content });
  const rows = Object.entries(facts).map(([name, fact]) => {
    const row = element("div", "");
    row.append(element("dt", name), element("dd", fact));
    return row;
  });
  part("facts").replaceChildren(...rows);
}

/** Remember what was made, for its file and its seed; null is nothing. */
function keep(whole) {
  made = whole;
  part("download").disabled = part("keep").disabled = !whole;
  part("facts").hidden = !whole;
}

/** The audio as a file: WAV from what was played, any other format from the service, with the same seed. */
async function download() {
  const { body, wishes: wished, player, stem } = made;
  const [option] = part("format").selectedOptions;
  const name = `${stem}.${option.dataset.suffix}`;
  say(`Preparing ${name}…`);
  const whole = async () => (await api.vocode(body, { ...wished, format: option.value })).blob();
  const file = option.value === "wav" ? wavFile(player.samples, player.rate) : await whole();
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(file), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  done(`${name} is on its way.`);
}

function choose({ target }) {
  const [file] = target.files;
  if (file) attempt(() => open(file));
  target.value = ""; // so that the same file can be chosen again
}

function drop(event) {
  event.preventDefault();
  part("drop").classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file) attempt(() => open(file));
}

function wire() {
  part("file").addEventListener("change", choose);
  part("example").addEventListener("click", () => attempt(openExample));
  part("model").addEventListener("change", chooseModel);
  part("wishes").addEventListener("input", showNumbers);
  part("wishes").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(speak);
  });
  part("download").addEventListener("click", () => attempt(download));
  part("keep").addEventListener("click", () => (part("seed").value = made.wishes.seed));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    part("drop").classList.add("over");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || part("drop").classList.remove("over"));
  document.addEventListener("drop", drop);
}

wire();
attempt(listModels);
