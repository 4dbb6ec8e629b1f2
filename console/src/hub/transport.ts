import { Code, ConnectError, type Interceptor, type Transport } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-web';
import { fetchAhead } from './ahead';
import { heard, missed } from './live';

/** What a browser sends with everything that writes: told by Entrance.State and at login. */
let csrf = '';
export function setCsrf(token: string) {
  csrf = token;
}

/** Called when the hub says that nobody is logged in any more. */
let onLoggedOut: () => void = () => {};
export function whenLoggedOut(f: () => void) {
  onLoggedOut = f;
}

const sendCsrf: Interceptor = (next) => (req) => {
  if (csrf) req.header.set('X-Tidemark-CSRF', csrf);
  return next(req);
};

const listen: Interceptor = (next) => async (req) => {
  try {
    const res = await next(req);
    heard();
    return res;
  } catch (e) {
    const err = ConnectError.from(e);
    if (isAway(err)) missed(err.rawMessage);
    else if (err.code !== Code.Canceled) heard();
    if (err.code === Code.Unauthenticated && req.service.typeName !== 'tidemark.admin.v1.Entrance') onLoggedOut();
    throw err;
  }
};

/** Whether an error means that the hub did not answer at all (a refusal is an answer). */
export function isAway(err: ConnectError): boolean {
  if (err.code === Code.DeadlineExceeded) return true;
  // fetch fails with a TypeError, which becomes Unknown with the cause kept.
  if (err.code === Code.Unknown && err.cause instanceof TypeError) return true;
  // A proxy's 502 to 504 becomes Unavailable without any detail of ours.
  return err.code === Code.Unavailable && err.details.length === 0;
}

export const transport: Transport = createConnectTransport({
  baseUrl: globalThis.location?.origin ?? 'http://localhost',
  useBinaryFormat: true,
  defaultTimeoutMs: 20_000,
  fetch: fetchAhead,
  interceptors: [listen, sendCsrf],
});
