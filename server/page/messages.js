/** What the page says to its reader, seen and, through live regions, heard. */

const GLANCE = 6; // seconds that a message about something finished stays

const part = (id) => document.getElementById(id);

let timer = 0;

/** What is being done, until something else is. */
export function say(words) {
  clearTimeout(timer);
  part("status").textContent = words;
}

/** What has been done, for a while. */
export function done(words) {
  say(words);
  timer = setTimeout(() => say(""), 1000 * GLANCE);
}

/** Do what somebody asked for; what goes wrong is told, but for what was stopped on purpose. */
export async function attempt(work) {
  part("error").textContent = "";
  try {
    await work();
  } catch (error) {
    if (error.name !== "AbortError") complain(error);
  }
}

function complain(error) {
  say("");
  part("error").textContent = inWords(error);
  part("error").scrollIntoView({ block: "nearest" });
}

function inWords({ message, status, retryAfter, requestId }) {
  const wait = retryAfter && !/try again/i.test(message) ? ` Try again in ${retryAfter} s.` : "";
  return `${message}${wait}${status >= 500 && requestId ? ` (request ${requestId})` : ""}`;
}
