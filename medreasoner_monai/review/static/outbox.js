// Verdicts on their way to the server. Each waits in the browser's own storage until the server has confirmed it, so
// that neither a server that was killed nor a page that was closed loses one; the same one sent twice is stored once.

const HEADERS = {"content-type": "application/json", "x-review": "1"};

export class Refused extends Error {}

export async function get(path, values = {}) {
  const given = Object.entries(values).filter(([, value]) => value !== null && value !== undefined);
  const query = new URLSearchParams(given).toString();
  return read(await fetch(query ? `${path}?${query}` : path));
}

export async function post(path, body, values = {}) {
  const query = new URLSearchParams(values).toString();
  return read(await fetch(query ? `${path}?${query}` : path, {method: "POST", headers: HEADERS, body: JSON.stringify(body)}));
}

async function read(response) {
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const refused = new Refused(answer.error || `the server answers ${response.status}`);
    refused.status = response.status;
    throw refused;
  }
  return answer;
}

export class Outbox {
  // `tell(state, waiting)` is called with saved, saving, offline or closed; `refuse(item, message)` when the server
  // does not take a verdict; `confirm(item)` when it has it.
  constructor(name, {tell, refuse, confirm}) {
    this.name = `review-outbox ${name}`;
    this.tell = tell;
    this.refuse = refuse;
    this.confirm = confirm;
    this.items = JSON.parse(localStorage.getItem(this.name) || "[]");
    this.sending = null;
    if (this.items.length) this.flush();
  }

  add(item) {
    // What was not sent yet is overtaken by the next verdict on the same part.
    const first = this.sending ? 1 : 0;
    this.items = this.items.filter((one, n) => n < first || one.sample !== item.sample || one.field !== item.field);
    this.items.push({...item, client: crypto.randomUUID()});
    this.keep();
    this.flush();
  }

  keep() {
    localStorage.setItem(this.name, JSON.stringify(this.items));
  }

  flush() {
    this.sending ??= this.drain().finally(() => { this.sending = null; });
    return this.sending;
  }

  async drain() {
    while (this.items.length) {
      this.tell("saving", this.items.length);
      const item = this.items[0];
      try {
        await post("/api/verdict", item);
        this.confirm(item);
      } catch (error) {
        if (!(error instanceof Refused)) {
          this.tell("offline", this.items.length);
          await new Promise(done => setTimeout(done, 1500));
          continue;
        }
        if (error.status === 401) {
          this.tell("closed", this.items.length);
          return;
        }
        this.refuse(item, error.message);
      }
      this.items.shift();
      this.keep();
    }
    this.tell("saved", 0);
  }
}
