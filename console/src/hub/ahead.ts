/**
 * What the first page asks the hub for is asked for before the page is there to ask: its
 * program takes longer to read than the hub takes to answer. Who asks for the same while
 * it is fresh gets that answer, once. Nothing that writes is asked ahead.
 */
const asked = new Map<string, { body: Uint8Array; at: number; answer: Promise<Response> }>();

const FRESH = 5_000; // ms

/** How many devices the first page of the fleet has: more than any screen, few enough to be quick. */
export const firstDevices = 100;

/** ListDevicesRequest{page: {page_size: firstDevices}}, without the library that would write it. */
export const firstList = new Uint8Array([0x0a, 2, 0x08, firstDevices]);

/** askAhead asks, when somebody seems to be logged in: the hub marks the page by the cookie that it came with. */
export function askAhead() {
  if (document.documentElement.dataset.in !== 'yes') return;
  const none = new Uint8Array();
  ask('Entrance/State', none);
  ask('Fleet/Overview', none);
  if (/^#?\/?(fleet)?$/.test(window.location.hash)) ask('Fleet/List', firstList);
}

function ask(method: string, body: Uint8Array<ArrayBuffer>) {
  const url = `${window.location.origin}/tidemark.admin.v1.${method}`;
  const headers = { 'Content-Type': 'application/proto', 'Connect-Protocol-Version': '1' };
  const answer = fetch(url, { method: 'POST', headers, body });
  answer.catch(() => {}); // who takes it hears of it
  asked.set(url, { body, at: Date.now(), answer });
}

/** fetchAhead is fetch, for who may have the answer already. */
export const fetchAhead: typeof fetch = (input, init) => {
  const url = String(input);
  const a = asked.get(url);
  if (a) {
    asked.delete(url);
    if (Date.now() - a.at < FRESH && same(a.body, init?.body)) return a.answer;
  }
  return fetch(input, init);
};

function same(a: Uint8Array, b: unknown): boolean {
  if (!(b instanceof Uint8Array)) return a.length === 0 && (b === undefined || b === null);
  return a.length === b.length && a.every((x, i) => x === b[i]);
}
