/** The service, as this page asks it. Addresses are relative to the page, so that a prefix of a proxy is kept. */

export class ApiError extends Error {
  /** `status` 0 is a service that cannot be reached; `retryAfter` is in seconds, or null. */
  constructor(message, { status = 0, code = null, retryAfter = null, requestId = null } = {}) {
    super(message);
    Object.assign(this, { status, code, retryAfter, requestId });
  }
}

export class Api {
  #key = "";

  /** `askKey(refused)` promises an API key; it is asked whenever the service answers 401. */
  constructor(askKey) {
    this.askKey = askKey;
  }

  /** The cards of `/v1/models`. */
  async models() {
    return (await (await this.#send("v1/models")).json()).data;
  }

  /** The mel of a sound file, as the bytes of a `.npy` file. */
  async mel(file, model) {
    const headers = { "Content-Type": file.type || "application/octet-stream" };
    return (await this.#send(`v1/mel?${new URLSearchParams({ model })}`, { method: "POST", headers, body: file })).arrayBuffer();
  }

  /** The answer to a mel (the bytes of a `.npy` file): audio, in the format that the wishes name. */
  vocode(body, wishes, signal) {
    const headers = { "Content-Type": "application/x-npy" };
    return this.#send(`v1/vocode?${new URLSearchParams(wishes)}`, { method: "POST", headers, body, signal });
  }

  async #send(path, request = {}) {
    for (;;) {
      const answer = await this.#fetch(path, request);
      if (answer.ok) return answer;
      if (answer.status !== 401) throw await refusal(answer);
      this.#key = await unless(request.signal, this.askKey(Boolean(this.#key)));
    }
  }

  async #fetch(path, request) {
    const headers = { ...request.headers, ...(this.#key && { Authorization: `Bearer ${this.#key}` }) };
    try {
      return await fetch(new URL(path, document.baseURI), { ...request, headers, cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError("The service cannot be reached.");
    }
  }
}

/** The promise, or the abortion of the signal, whichever is first. */
function unless(signal, promise) {
  const aborted = new Promise((_, reject) => {
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  return Promise.race([promise, aborted]);
}

async function refusal(answer) {
  const { message, code } = await answer.json().then((body) => body.error ?? {}, () => ({}));
  const retryAfter = Number(answer.headers.get("Retry-After")) || null;
  const requestId = answer.headers.get("X-Request-Id");
  const details = { status: answer.status, code, retryAfter, requestId };
  return new ApiError(message ?? `The service answered ${answer.status}.`, details);
}
