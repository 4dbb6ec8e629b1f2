/** What the Go test around the script tells it, and what the script asks of it. */
export interface Stage {
  url: string;
  setup: string;
  key: string; // hash of the console's key
  office: string;
  chromium: string;
  shots: string;
  guide: string;
}

export const stage = JSON.parse(process.env.TIDEMARK_STAGE ?? '{}') as Stage;

interface Reply {
  out: string;
  code: number;
}

async function order(o: { do: string; at?: string; text?: string; args?: string[] }): Promise<Reply> {
  const r = await fetch(stage.office, { method: 'POST', body: JSON.stringify(o) });
  if (!r.ok) throw new Error(`order ${o.do}: ${await r.text()}`);
  return (await r.json()) as Reply;
}

/** sql runs plain SQL in a site's file, as its application would; at "hub" in the hub's. */
export const sql = async (at: string, text: string): Promise<string> => (await order({ do: 'sql', at, text })).out;
export const cut = () => order({ do: 'cut' });
export const mend = () => order({ do: 'mend' });
/** join has a site take a token, fill its file and start its agent. */
export const join = (at: string, text: string) => order({ do: 'join', at, text });
/** enrol is a site that reaches the hub whether the line is cut or not. */
export const enrol = (at: string) => order({ do: 'enrol', at });
/** agent starts a site's agent again: it calls at once. */
export const agent = (at: string) => order({ do: 'agent', at });
/** serving starts a site's agent, again, with the page for its own machine. */
export const serving = (at: string) => order({ do: 'page', at });
export const killAgent = (at: string) => order({ do: 'killAgent', at });
export const killHub = () => order({ do: 'kill' });
export const openHub = () => order({ do: 'open' });
/** run runs the command line; FILE:site and DATA stand for paths. */
export const run = (...args: string[]) => order({ do: 'run', args });

/** until waits until ask gives what ok likes, and says what it gave last when it does not. */
export async function until<T>(what: string, ask: () => Promise<T>, ok: (t: T) => boolean, limit = 60_000): Promise<T> {
  const end = Date.now() + limit;
  for (;;) {
    const t = await ask();
    if (ok(t)) return t;
    if (Date.now() > end) throw new Error(`not within ${limit / 1000} s: ${what}; last ${JSON.stringify(t)}`);
    await new Promise((r) => setTimeout(r, 200));
  }
}
